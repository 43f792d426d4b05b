"""`prepare` is one process that becomes the server; the entrypoint is nothing but it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from programs import needed
from projects import REPOSITORY, Project, make_shop
from waiting import until

ADMIN = {"DJANGO_SUPERUSER_USERNAME": "ada", "DJANGO_SUPERUSER_PASSWORD": "correct-horse-7-battery"}
# A server for the tests: says who and how it is, then waits for SIGTERM as any program would.
SERVER = """
import os, signal
ignored = [s.name for s in (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT)
           if signal.getsignal(s) is signal.SIG_IGN and s is not signal.SIGPIPE]
status = open('/proc/self/status').read()
sockets = [os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')
           if os.path.exists(f'/proc/self/fd/{fd}')]
print('pid', os.getpid(), 'ignored', ignored, flush=True)
print('sockets', sum(s.startswith('socket:') for s in sockets), flush=True)
signal.pause()
"""


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    return make_shop(tmp_path, database)


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox sh"])
def test_the_server_takes_the_place_of_the_entrypoint_and_gets_the_signals(
    shop: Project, shell: str
) -> None:
    needed(shell.split(maxsplit=1)[0])
    process = subprocess.Popen(
        [*shell.split(), str(REPOSITORY / "entrypoint.sh"), "python3", "-c", SERVER],
        cwd=shop.root,
        env=shop.variables({"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | ADMIN),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if line.startswith("sockets"):
            break
    assert f"pid {process.pid} ignored []" in lines, lines
    assert "sockets 0" in lines, "the server inherited a connection of ours"
    assert "postdo: superuser ada created" in lines
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == -signal.SIGTERM


def test_the_story_is_told_in_a_few_plain_lines(shop: Project) -> None:
    assert shop.run("prepare", environment=ADMIN).code == 0
    outcome = shop.run("prepare", environment=ADMIN)
    assert [line.partition(" (")[0] for line in outcome.out.splitlines()] == [
        "postdo: database ready",
        "postdo: models match their migrations",
        "postdo: user ada already exists",
        "postdo: nothing to migrate",
        "postdo: prepared",
    ]
    assert outcome.err == ""


def test_python_itself_warns_about_nothing(shop: Project) -> None:
    for _ in range(2):
        outcome = shop.run("prepare", environment=ADMIN, flags=("-W", "error"))
        assert (outcome.code, outcome.err) == (0, "")


def test_no_server_is_started_after_a_refusal(shop: Project) -> None:
    shop.migration("shop", "0002_left", "", after="0001_initial")
    shop.migration("shop", "0002_right", "", after="0001_initial")
    assert shop.run("prepare", "--", "touch", str(shop.root / "started")).code == 3
    assert not (shop.root / "started").exists()


def test_options_of_the_server_are_not_ours(shop: Project) -> None:
    outcome = shop.run("prepare", "--", "echo", "--json", "-c", "x")
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1] == "--json -c x"


def test_the_server_has_no_password_that_only_the_preparing_needs(shop: Project) -> None:
    secrets = {"PGADMIN_DEFAULT_PASSWORD": "of-pgadmin", "POSTDO_RELEASE_PASSWORD": "of-release"}
    printing = "import os; print('ada' in str(os.environ), *os.environ.values(), sep=chr(10))"
    words = ("prepare", "--", sys.executable, "-c", printing)

    outcome = shop.run(*words, environment={**ADMIN, **secrets, "OF_THE_SITE": "kept"})

    assert "superuser ada created" in outcome.out
    seen = outcome.out.splitlines()
    assert "kept" in seen
    assert not {ADMIN["DJANGO_SUPERUSER_PASSWORD"], *secrets.values()} & set(seen)


def test_a_server_that_is_not_there_is_named(shop: Project) -> None:
    outcome = shop.run("prepare", "--", "no-such-server")
    assert outcome.code == 2
    assert "no-such-server cannot be started: No such file or directory" in outcome.err


def test_the_result_as_json_is_one_object_on_standard_output(shop: Project) -> None:
    outcome = shop.run("prepare", "--json", environment=ADMIN)
    assert outcome.code == 0
    result = outcome.report["result"]
    assert result["check"] == {"by": "models", "written": []}
    assert result["migrate"]["applied"][-1] == "shop.0001_initial"
    assert result["superuser"] == {"outcome": "created", "login": "ada"}


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("wait", "--stamp", "x"),
        ("plan", "--htm", "x"),
        ("drift", "--rec", "a.b"),
        ("wait", "--", "gunicorn"),
    ],
)
def test_wrong_usage_ends_with_two(shop: Project, arguments: tuple[str, ...]) -> None:
    assert shop.run(*arguments).code == 2


def test_a_missing_settings_module_ends_with_two(shop: Project) -> None:
    outcome = shop.run("prepare", environment={"DJANGO_SETTINGS_MODULE": ""})
    assert outcome.code == 2
    assert "DJANGO_SETTINGS_MODULE is not set" in outcome.err


def test_the_settings_option_is_what_the_server_sees(shop: Project) -> None:
    shop.write("config/other.py", "from config.settings import *\n")
    printing = "import os; print(os.environ['DJANGO_SETTINGS_MODULE'])"
    outcome = shop.run(
        "prepare", "--settings", "config.other", "--", sys.executable, "-c", printing
    )
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[-1] == "config.other"


def test_a_stopped_start_leaves_no_server(shop: Project) -> None:
    shop.migration(
        "shop", "0002_long", "migrations.RunSQL('SELECT pg_sleep(60)')", after="0001_initial"
    )
    process = shop.start("prepare", "--", "touch", str(shop.root / "started"))
    until(
        lambda: bool(
            shop.sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'")
        ),
        "the migration at work",
    )
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143
    assert not (shop.root / "started").exists()


COMMAND = """from django.core.management.base import BaseCommand


class Command(BaseCommand):
    pass
"""


def test_a_scheduled_command_that_the_project_does_not_have_is_refused_before_anything_is_done(
    shop: Project,
) -> None:
    schedule = {"POSTDO_COMMANDS": "SCHEDULE_CHECK=check SCHEDULE_REPORT=send_report "}

    refused = shop.run("prepare", environment=schedule)

    assert refused.code == 3
    assert (
        "no manage.py command send_report, which SCHEDULE_REPORT in .env schedules" in refused.err
    )
    assert "database ready" not in refused.out
    shop.write("shop/management/commands/send_report.py", COMMAND)
    assert shop.run("prepare", environment=schedule).code == 0
