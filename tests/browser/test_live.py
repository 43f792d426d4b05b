"""A page that is open is told of what is new, by the development server of -2, without Docker."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from waiting import until

from .chromium import Desktop

WEB = Path(__file__).resolve().parents[2] / "web"
PASSWORD = "correct-horse-battery"
NOTIFY = """
from accounts.models import User
from notifications.models import Notification
Notification.objects.create(recipient=User.objects.get(), text={text!r})
"""


class LiveSite:
    """The starter with the part `live`."""

    def __init__(self, database: str) -> None:
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/tmp",  # noqa: S108
            "PYTHONDONTWRITEBYTECODE": "1",
            "COMPOSE_PROFILES": "live",
            "DATABASE_URL": database,
            "DJANGO_SETTINGS_MODULE": "config.settings.dev",
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
            "DEBUG": "1",
            # As -2 hands on the lines of .env that are empty.
            "WEB_CONCURRENCY": "",
        }
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def manage(self, *words: str) -> None:
        argv = [sys.executable, "manage.py", *words]
        subprocess.run(argv, cwd=WEB, env=self.environment, check=True, capture_output=True)

    def notify(self, text: str) -> None:
        """What another program does meanwhile."""
        self.manage("shell", "-c", NOTIFY.format(text=text))

    def start(self) -> None:
        argv = [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(
            argv,
            cwd=WEB,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self.listens, "runserver listens")

    def listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()


@pytest.fixture
def live_site(browser: Browser, database: str) -> Iterator[LiveSite]:
    site = LiveSite(database)
    site.manage("migrate")
    site.manage("createsuperuser", "--noinput", "--email", "ada@example.com")
    site.start()
    yield site
    site.stop()


def test_a_notification_arrives_and_what_a_restart_missed_comes_afterwards(
    live_site: LiveSite, desktop: Desktop
) -> None:
    tab = desktop.open()
    tab.go(f"http://127.0.0.1:{live_site.port}/notifications/")
    tab.page.get_by_label("Email address:").fill("ada@example.com")
    tab.page.get_by_label("Password:").fill(PASSWORD)
    with tab.page.expect_websocket():
        tab.page.get_by_role("button", name="Log in").click()
    shown = tab.page.locator("#notifications .text")
    expect(shown).to_have_count(0)

    live_site.notify("<b>Hello</b>")

    expect(shown).to_have_text(["<b>Hello</b>"])

    live_site.stop()
    live_site.notify("while it was away")
    live_site.start()

    expect(shown).to_have_text(["while it was away", "<b>Hello</b>"])
