"""SIGTERM and SIGINT end a command at once, and never in the middle of a migration."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from projects import DEVELOPMENT, Project, make, make_shop, open_connection
from test_postdo_race import running
from waiting import until

from postdo.base.advisory_lock import LOCK_KEY

SLEEP = "migrations.RunSQL('SELECT pg_sleep(60)')"
PROMPTLY = 5.0


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    return make_shop(tmp_path, database, environment=DEVELOPMENT)


def stopped(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> str:
    """What a process printed that ended promptly after the signal, with the right code."""
    started = time.monotonic()
    process.send_signal(number)
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + number, printed
    assert time.monotonic() - started < PROMPTLY
    assert "Traceback" not in printed
    return printed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_waiting_for_a_database(tmp_path: Path, number: signal.Signals) -> None:
    process = make(tmp_path, "postgres://u:p@127.0.0.1:1/d").start("prepare")
    assert process.stdout is not None
    assert "waiting" in process.stdout.readline()
    assert f"stopped by {number.name}" in stopped(process, number)


def test_a_signal_ends_a_connection_that_hangs(tmp_path: Path) -> None:
    """The driver waits in C, where no Python handler runs."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        process = make(tmp_path, f"postgres://u:p@127.0.0.1:{port}/d").start("prepare")
        client, _ = silent.accept()
        with closing(client):
            assert "stopped by SIGTERM" in stopped(process)


def test_a_signal_ends_the_waiting_for_the_lock(shop: Project) -> None:
    with closing(open_connection(shop.url)) as holder:
        holder.cursor().execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
        process = shop.start("prepare")
        assert process.stdout is not None
        while "waiting for" not in process.stdout.readline():
            assert process.poll() is None
        stopped(process)
    assert shop.sql("SELECT to_regclass('django_migrations')") == [(None,)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_a_long_statement_rolls_the_migration_back(
    shop: Project, number: signal.Signals
) -> None:
    operations = f"migrations.RunSQL('CREATE TABLE begun ()'), {SLEEP}"
    shop.migration("shop", "0002_long", operations, after="0001_initial")
    shop.migration("shop", "0003_after", "", after="0002_long")
    process = shop.start("migrate")
    until(lambda: running(shop, "pg_sleep"), "the migration at work")
    printed = stopped(process, number)
    assert f"stopped by {number.name}" in printed
    assert "each of them is complete" in printed
    until(lambda: not running(shop, "pg_sleep"), "the statement cancelled on the server")
    assert shop.sql("SELECT to_regclass('begun')") == [(None,)]
    names = shop.sql("SELECT name FROM django_migrations WHERE app = 'shop'")
    assert names == [("0001_initial",)]


def test_a_signal_in_a_migration_that_is_not_atomic_lets_it_finish(shop: Project) -> None:
    operations = (
        "migrations.RunSQL('CREATE TABLE begun ()'),"
        "migrations.RunSQL('SELECT pg_sleep(2)'),"
        "migrations.RunSQL('CREATE TABLE finished ()')"
    )
    shop.migration("shop", "0002_steps", operations, after="0001_initial", header="atomic = False")
    shop.migration("shop", "0003_after", "", after="0002_steps")
    process = shop.start("migrate", "--json")
    until(lambda: running(shop, "pg_sleep"), "the migration at work")
    assert '"exit": 143, "outcome": "stopped"' in stopped(process)
    assert shop.sql("SELECT to_regclass('finished') IS NOT NULL") == [(True,)]
    names = shop.sql("SELECT name FROM django_migrations WHERE app = 'shop' ORDER BY id")
    assert names == [("0001_initial",), ("0002_steps",)]


def test_a_start_after_a_signal_goes_on(shop: Project) -> None:
    slow = shop.migration("shop", "0002_long", SLEEP, after="0001_initial")
    process = shop.start("prepare")
    until(lambda: running(shop, "pg_sleep"), "the migration at work")
    stopped(process)
    slow.write_text(slow.read_text().replace(SLEEP, ""))
    outcome = shop.run("prepare")
    assert outcome.code == 0, outcome.err
    assert "applied shop.0002_long" in outcome.out


def test_a_python_migration_is_stopped_and_rolled_back(shop: Project) -> None:
    """A signal comes between two bytecodes here, and not in the driver."""
    text = """
def forwards(apps, schema_editor):
    import time
    schema_editor.execute("CREATE TABLE begun ()")
    open("looping", "w").close()
    try:
        while True:
            time.sleep(0.05)
    except Exception:
        pass  # code that swallows everything must not swallow the signal
"""
    file = shop.migration(
        "shop", "0002_python", "migrations.RunPython(forwards)", after="0001_initial"
    )
    file.write_text(text + file.read_text())
    process = shop.start("migrate")
    until((shop.root / "looping").exists, "the function running")
    stopped(process)
    assert shop.sql("SELECT to_regclass('begun')") == [(None,)]
