"""What the tests fork is what they would start: nothing that a test can see is different."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import forkserver
import pytest
from driving import drive
from projects import DEVELOPMENT, Project, make_shop, query
from waiting import until

pytestmark = pytest.mark.skipif(not forkserver.WARM, reason="every process is started anew here")

# Each way to start one: both have to give the same.
RUNS: dict[str, Callable[..., subprocess.CompletedProcess[str]]] = {
    "forked": forkserver.run,
    "started": subprocess.run,
}
IS_FORKED = "print('-c' not in open('/proc/self/cmdline').read().split(chr(0)))"
# What a program finds when it begins, but for pids.
FOUND = """
import gc, json, os, random, signal, sys, threading, time
from django.conf import settings
print(json.dumps({
    "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path, "flags": repr(sys.flags),
    "environ": dict(os.environ), "folder": os.getcwd(),
    "descriptors": [os.readlink(f"/proc/self/fd/{fd}").split(":")[0]
                    for fd in sorted(os.listdir("/proc/self/fd"), key=int)
                    if os.path.exists(f"/proc/self/fd/{fd}")],
    "streams": [repr((s, s.encoding, s.errors, s.line_buffering, s.isatty(), s.newlines))
                for s in (sys.stdin, sys.stdout, sys.stderr)],
    "signals": [str(signal.getsignal(number)) for number in range(1, 32)],
    "status": [line for line in open("/proc/self/status")
               if line.startswith(("SigBlk", "SigIgn", "SigCgt", "Umask"))],
    "main": __name__, "name": "settings" in globals(), "threads": threading.active_count(),
    "parent": os.getppid(), "session": os.getsid(0), "group": os.getpgid(0),
    "configured": settings.configured, "collects": gc.isenabled(),
    "zone": (time.tzname, time.timezone, time.localtime(0).tm_hour),
}))
"""


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    return make_shop(tmp_path, database)


def program(
    project: Project,
    code: str,
    start: Callable[..., Any] = forkserver.run,
    environment: Mapping[str, str] | None = None,
) -> Any:
    return start(
        [sys.executable, "-c", code, "one", "two"],
        cwd=project.root,
        env=project.variables(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def forked(words: list[str], environment: Mapping[str, str], **more: Any) -> bool:
    done = forkserver.run(words, env=environment, capture_output=True, text=True, **more)
    assert done.returncode == 0, done.stderr
    return bool(done.stdout.strip() == "True")


@pytest.mark.parametrize("environment", [{}, {"TZ": "Asia/Tokyo"}])
def test_a_program_finds_the_same_as_if_it_were_started(
    shop: Project, environment: Mapping[str, str]
) -> None:
    found = {
        how: json.loads(program(shop, FOUND, run, environment).stdout) for how, run in RUNS.items()
    }
    # The way to its spare, for the rehearsal's child; closed in whatever it starts.
    assert found["forked"]["descriptors"].pop(3) == "socket"
    assert found["forked"] == found["started"]
    assert found["forked"]["parent"] == os.getpid()


@pytest.mark.parametrize(
    "code",
    [
        "",
        "import sys; sys.exit(3)",
        "import sys; sys.exit(256 + 7)",
        "import sys; sys.exit('words')",
        "import os; os._exit(9)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
        "import atexit; atexit.register(print, 'at the end'); print('first')",
        "import threading; threading.Timer(0.2, print, ['a thread']).start()",
        "import os, sys; os.close(1); print('lost')",
        "import os; print(os.read(0, 1)); open('file', 'w').write('kept')",
    ],
)
def test_a_program_ends_as_if_it_were_started(shop: Project, code: str) -> None:
    ends = []
    for run in RUNS.values():
        done = program(shop, code, run)
        ends.append((done.returncode, done.stdout, done.stderr))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("code", ["1 / 0", "raise KeyboardInterrupt", "syntax error"])
def test_an_exception_that_nobody_expected_ends_it_as_ever(shop: Project, code: str) -> None:
    done = {how: program(shop, code, run) for how, run in RUNS.items()}
    assert done["forked"].returncode == done["started"].returncode
    last = {how: one.stderr.splitlines()[-1] for how, one in done.items()}
    assert last["forked"] == last["started"]


@pytest.mark.parametrize(
    "arguments", [["wait"], ["check"], ["plan"], ["drift"], ["rehearse"], ["sources"], ["wrong"]]
)
def test_a_command_says_the_same(shop: Project, arguments: list[str]) -> None:
    """Cold starts of every command: one that forgets an import fails here."""
    said = []
    for run in RUNS.values():
        done = run(
            [sys.executable, "-m", "postdo", *arguments, "--json"],
            cwd=shop.root,
            env=shop.variables(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        values = json.loads(done.stdout) if done.stdout else {}
        said.append((done.returncode, values.get("outcome"), values.get("what")))
    assert said[0] == said[1]


@pytest.mark.parametrize("arguments", [["migrate"], ["superuser"], ["prepare"]])
def test_a_command_that_changes_something_works_when_it_is_started(
    shop: Project, arguments: list[str]
) -> None:
    words = [sys.executable, "-m", "postdo", *arguments]
    environment = shop.variables(DEVELOPMENT)
    assert shop.run("migrate").code == 0
    subprocess.run(words, cwd=shop.root, env=environment, check=True, timeout=60)


def test_nothing_goes_from_one_to_the_next(shop: Project) -> None:
    program(
        shop, "import os, django; django.leaked = 1; os.environ['LEAKED'] = os.putenv('L', '1')"
    )
    asked = "import os, django, random; print(hasattr(django, 'leaked'), random.random())"
    first, second = (program(shop, asked).stdout.split() for _ in range(2))
    assert first[0] == second[0] == "False"
    assert first[1] != second[1]


def test_what_is_different_before_the_first_line_is_started_anew(shop: Project) -> None:
    ask = [sys.executable, "-c", IS_FORKED]
    same = shop.variables()
    assert forked(ask, same)
    for name, value in {
        "PYTHONPATH": "/",
        "PYTHONHASHSEED": "1",
        "LC_ALL": "C",
        "LD_PRELOAD": "",
    }.items():
        assert not forked(ask, {**same, name: value}), name
    assert not forked([sys.executable, "-W", "error", *ask[1:]], same)
    assert not forked(["sh", "-c", 'exec "$@"', "sh", *ask], same)
    assert not forked(ask, same, pass_fds=[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_reaches_it_and_takes_the_rehearsal_along(
    shop: Project, number: signal.Signals
) -> None:
    shop.migration(
        "shop", "0002_slow", "migrations.RunSQL('SELECT pg_sleep(60)')", after="0001_initial"
    )
    process = shop.start("rehearse")
    sleeping = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"
    until(lambda: shop.sql(sleeping), "the rehearsal")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    # The rehearsal's process, and the one from which it was forked.
    assert [Path(f"/proc/{child}/cmdline").read_text().split("\0")[1] for child in children] == [
        forkserver.__file__
    ] * 2
    process.send_signal(number)
    process.communicate(timeout=60)
    expected = -number if number == signal.SIGKILL else 128 + number
    assert process.returncode == expected
    until(lambda: not any(alive(int(child)) for child in children), "their end")
    until(lambda: not query(shop.url, sleeping), "the end of the statement")
    assert drive(shop, "scratch.remove_abandoned(run, session)").code == 0
    assert shop.copies() == []


def alive(pid: int) -> bool:
    """Whether it runs: one that waits for its parent to ask how it ended does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
