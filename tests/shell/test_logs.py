"""logs: the site's JSON lines as a person reads them, and as they are for a program."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from .fakes import FakeDocker
from .machine import PROJECT, Clone, Toolbox
from .test_starts import make_live

TRACEBACK = """Traceback (most recent call last):
  File "views.py", line 3, in broken
    return 1 / 0
ZeroDivisionError: division by zero"""
ERROR = json.dumps(
    {
        "status_code": 500,
        "path": "/broken/",
        "time": "2026-11-29T23:15:38.065+00:00",
        "level": "ERROR",
        "logger": "django.request",
        "message": "Internal Server Error: /broken/",
        "exception": TRACEBACK,
    }
)
ACCESS = json.dumps(
    {
        "time": "2026-11-29T23:15:38.065+00:00",
        "level": "INFO",
        "logger": "gunicorn.access",
        "message": "GET /readyz 200",
        "status": 200,
        "seconds": 0.008,
        "client": "::1",
        "agent": "a browser",
    }
)
RECEIVED = json.dumps(
    {
        "data": {"id": "7d", "name": "shop.tasks.work", "args": "['}']", "eta": None},
        "time": "2026-11-29T23:15:38.065+00:00",
        "level": "INFO",
        "logger": "celery.worker.strategy",
        "message": "Task shop.tasks.work[7d] received",
    }
)
NESTED = json.dumps(
    {
        "lines": [{"sku": 'a"]', "count": 2}, []],
        "data": {},
        "time": "2026-11-29T23:15:38.065+00:00",
        "level": "INFO",
        "logger": "shop",
        "message": "ordered",
    }
)
# Compose 2.26 begins each line with it, also where nobody looks at a terminal.
CLEAR_LINE = "\x1b[2K"
CADDY = '{"level":"error","ts":1795994104.8,"msg":"dial tcp","request":{"method":"GET"}}'
PLAIN = "2026-11-29 23:15:37 UTC [1] LOG:  database system is ready"
READ = """web-blue-1  | 2026-11-29 23:15:38 ERROR django.request: Internal Server Error: /broken/
web-blue-1  |     Traceback (most recent call last):
web-blue-1  |       File "views.py", line 3, in broken
web-blue-1  |         return 1 / 0
web-blue-1  |     ZeroDivisionError: division by zero
web-blue-1  | 2026-11-29 23:15:38 INFO gunicorn.access: GET /readyz 200 seconds=0.008 client=::1
"""


def written(*lines: str) -> str:
    """As Compose prints what a container has written."""
    return "\n".join(f"web-blue-1  | {line}" for line in lines)


def test_a_traceback_is_shown_line_by_line_and_other_lines_as_they_are(
    clone: Clone, tmp_path: Path
) -> None:
    docker = FakeDocker(tmp_path / "docker")
    clone.first.append(docker.folder)
    docker.answer("compose * logs *", out=written(ERROR, ACCESS, CADDY, PLAIN))

    shown = clone.run("-0", "logs")

    assert shown.status == 0
    assert READ + written(CADDY, PLAIN) + "\n" in shown.out


def test_what_a_worker_logs_is_shown_without_what_its_message_says(toolbox: Toolbox) -> None:
    lines = [CLEAR_LINE + line for line in written(RECEIVED, NESTED, PLAIN).splitlines()]
    for awk in toolbox.awks().values():
        done = subprocess.run(
            [awk, "-f", PROJECT / "lib/logs.awk"],
            input="\n".join(lines).encode(),
            env={"LC_ALL": "C"},
            capture_output=True,
            check=True,
        )
        assert done.stdout.decode().splitlines() == [
            "web-blue-1  | 2026-11-29 23:15:38 INFO celery.worker.strategy: "
            "Task shop.tasks.work[7d] received",
            "web-blue-1  | 2026-11-29 23:15:38 INFO shop: ordered "
            'lines=[{"sku": "a\\"]", "count": 2}, []] data={}',
            written(PLAIN),
        ], awk


def test_for_a_program_every_line_is_as_it_was_written(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    make_live(dash_clone, "web-blue")
    every = written(ERROR, ACCESS, CADDY, RECEIVED, PLAIN)
    docker.answer("compose * logs *", out=CLEAR_LINE + every)

    shown = dash_clone.run("-0", "logs", "--json", "web")

    assert every in shown.out
    assert CLEAR_LINE not in shown.out
    (call,) = docker.compose_calls()
    assert call == "logs --no-color --tail 200 web-blue", "no escape codes in a pipe"


def test_logs_that_compose_cannot_show_fail(dash_clone: Clone, docker: FakeDocker) -> None:
    docker.answer("compose * logs *", err="no such service: wep", status=1)

    shown = dash_clone.run("-0", "logs", "wep")

    assert shown.status == 1
    assert "no such service: wep" in shown.text


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("one\nweb-blue-1  | forged", "one\nweb-blue-1  |     web-blue-1  | forged"),
        ("\x1b[31mred\x07", "\\u001b[31mred\\u0007"),
        ('a "quoted" \\n back\\slash/', 'a "quoted" \\n back\\slash/'),
        ("été, 中文 and 😀", "été, 中文 and 😀"),
        ("\ud800 alone", "\\ud800 alone"),
        ("", ""),
    ],
)
def test_what_a_client_sent_stays_within_its_line(
    toolbox: Toolbox, message: str, shown: str
) -> None:
    said = {"time": "2026-11-29T23:15:38", "level": "INFO", "logger": "x", "message": message}
    line = written(json.dumps(said)) + "\n"
    for awk in toolbox.awks().values():
        done = subprocess.run(
            [awk, "-f", PROJECT / "lib/logs.awk"],
            input=line.encode(),
            env={"LC_ALL": "C"},
            capture_output=True,
            check=True,
        )
        assert done.stdout.decode() == f"web-blue-1  | 2026-11-29 23:15:38 INFO x: {shown}\n", awk


def test_what_a_replaced_colour_wrote_is_kept_and_not_without_end(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    make_live(dash_clone, "web-blue")
    docker.has_container("web-blue")
    docker.has_container("web-green", "stopped")
    docker.answer("logs --tail * id-web-green", out="the last words of green")
    folder = dash_clone.state / "log"
    folder.mkdir()
    for number in range(30):
        (folder / f"released-20260101-0000{number}-web-blue.log").write_text("older")

    dash_clone.run("-0").assert_ok()

    kept = sorted(path.name for path in folder.glob("released-*"))
    assert len(kept) == 20
    assert kept[-1].endswith("-web-green.log")
    assert (folder / kept[-1]).read_text() == "the last words of green\n"
