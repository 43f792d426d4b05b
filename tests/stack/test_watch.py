"""What is killed comes back by `watch` without a lost row, and somebody is told."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest
from receivers import Receiver, receiver

from .clone import Clone
from .engine import docker
from .visitor import Visitor
from .waiting import eventually


@pytest.fixture
def chat() -> Iterator[Receiver]:
    """Whoever is told."""
    with receiver() as found:
        yield found


class Writer(threading.Thread):
    """Logs in again and again: each answer acknowledges a row, the session in the database."""

    def __init__(self, clone: Clone) -> None:
        super().__init__(daemon=True)
        env = clone.env()
        self.login = (env["DJANGO_SUPERUSER_EMAIL"], env["DJANGO_SUPERUSER_PASSWORD"])
        self.clone = clone
        self.sessions: list[str] = []
        self.enough = threading.Event()

    def run(self) -> None:
        while not self.enough.is_set():
            visitor: Visitor = self.clone.visitor("HTTP_PORT")
            with contextlib.suppress(AssertionError, OSError):
                visitor.log_in(*self.login)
                self.sessions += [
                    one.value or "" for one in visitor.cookies if one.name == "sessionid"
                ]

    def goes_on(self) -> None:
        """Wait until rows are acknowledged again."""
        before = len(self.sessions)
        eventually(lambda: len(self.sessions) > before, "rows that are acknowledged", 60)


def test_what_is_killed_comes_back_without_a_lost_row_and_is_told(
    production: Clone, chat: Receiver
) -> None:
    limits = "disk_mb=0 disk_hours=0 image_days=0 memory_percent=0"
    production.set_in_env(ALERT_WEBHOOKS=f"{chat.address}/hook", ALERT_LIMITS=limits)
    production.run("alert", "test")
    assert chat.posts().pop().fields["state"] == "test"
    production.run("-0", "watch")
    writer = Writer(production)
    writer.start()

    for service in (production.live(), "db", "proxy"):
        writer.goes_on()
        container = production.containers("prod")[service]
        told = len(chat.posts())
        docker("kill", container.id)
        eventually(lambda c=container: c.facts()["State"]["Status"] == "exited", "its end")  # type: ignore[misc]

        watched = production.run("-0", "watch", ok=False)

        assert f"  back      {service} had stopped (exit code 137) and was started" in watched.out
        eventually(production.visitor("HTTP_PORT").is_up, "the site")
        texts = [one.fields["text"] for one in chat.posts()[told:]]
        assert sum(f"{service} had stopped" in text for text in texts) == 1, texts
        assert set(production.runs_in("prod")) == {production.live(), "db", "proxy"}

    writer.goes_on()
    writer.enough.set()
    writer.join()
    kept = set(production.query("prod", "SELECT session_key FROM django_session").split())
    assert [session for session in writer.sessions if session not in kept] == []
