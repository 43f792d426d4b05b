"""DEBUG_PORT: an editor stops in a view of the development server, also after a reload."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from debug_adapter import Debugger
from projects import REPOSITORY
from shell.machine import free_ports
from waiting import until

COMPOSE = (REPOSITORY / "docker-compose.debug.yml").read_text()
LAUNCH = json.loads((REPOSITORY / ".vscode/launch.json").read_text())
VIEW = """from django.http import HttpResponse


def hello(request):
    name = "ada"
    return HttpResponse(name)
"""
LINE = 6  # in which the view knows the name
# A project without a database, of three files beside the view.
FILES = {
    "view.py": VIEW,
    "settings.py": 'DEBUG = True\nSECRET_KEY = "for tests only"\nROOT_URLCONF = "urls"\n',
    "urls.py": """from django.urls import path
from view import hello

urlpatterns = [path("", hello)]
""",
    "manage.py": """import os, sys

from django.core.management import execute_from_command_line

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
""",
}


def command(**values: str) -> list[str]:
    """The command of the development server under debugpy, with these values for its ports."""
    (found,) = re.findall(r"^    command: (\[.*\])$", COMPOSE, re.MULTILINE)
    for name, value in values.items():
        found = found.replace(name, value)
    words: list[str] = json.loads(found)
    return words


@pytest.fixture
def ports() -> tuple[int, int]:
    debug, site = free_ports(2)
    return debug, site


@pytest.fixture
def view(tmp_path: Path, ports: tuple[int, int]) -> Iterator[Path]:
    """The view of a project that runs as `-1` runs it, on this machine."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    debug, site = (str(port) for port in ports)
    words = command(**{"${DEBUG_PORT}": debug, "0.0.0.0:8000": f"127.0.0.1:{site}"})
    running = subprocess.Popen(
        [sys.executable, *words[1:]],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    yield tmp_path / "view.py"
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()


def is_up(url: str) -> bool:
    try:
        with urlopen(url, timeout=10) as answer:  # noqa: S310 - our own server
            return bool(answer.status == 200)
    except OSError:
        return False


def test_an_editor_stops_in_a_view_also_after_the_server_has_reloaded(
    view: Path, ports: tuple[int, int]
) -> None:
    debug, site = ports
    url = f"http://127.0.0.1:{site}/"
    until(lambda: is_up(url), "the server to serve, with no editor there")
    (attach,) = LAUNCH["configurations"]
    configuration = {**attach, "connect": {"host": "127.0.0.1", "port": debug}}
    del configuration["pathMappings"]  # the files are where the server sees them

    with Debugger(debug).attach(view, LINE, **configuration) as reloader:
        for name in ("ada", "bob"):
            view.write_text(VIEW.replace("ada", name))
            with reloader.child(view, LINE) as child:
                visit = threading.Thread(target=until, args=(lambda: is_up(url), "an answer"))
                visit.start()
                assert child.value_where_it_stopped("name") == f"'{name}'"
                visit.join()


def test_the_debugger_is_open_to_this_machine_alone_and_at_one_port_on_both_sides() -> None:
    """debugpy names the port of its own side to the editor, for each new process."""
    assert re.findall(r"^      - (.*)$", COMPOSE, re.MULTILINE) == [
        '"127.0.0.1:${DEBUG_PORT}:${DEBUG_PORT}"'
    ]
    assert command()[-4:] == ["0.0.0.0:${DEBUG_PORT}", "manage.py", "runserver", "0.0.0.0:8000"]


def test_the_launch_configuration_is_for_the_port_and_the_folder_of_the_development_server() -> (
    None
):
    (attach,) = LAUNCH["configurations"]
    mapping = {"localRoot": "${workspaceFolder}/web", "remoteRoot": "/app"}

    assert attach["connect"] == {"host": "127.0.0.1", "port": 5678}
    assert attach["pathMappings"] == [mapping]
    assert "./web:/app" in (REPOSITORY / "docker-compose.dev.yml").read_text()
    assert "(such as 5678)" in (REPOSITORY / ".env.example").read_text()
