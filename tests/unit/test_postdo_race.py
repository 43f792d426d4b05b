"""Several processes at once, and processes that die: one works, the others wait, none fails."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from projects import ITEM, Project, make_shop, open_connection
from waiting import until

from postdo.base.advisory_lock import LOCK_KEY

GATE = 4242
# Takes until the test lets go of the gate.
SLOW = f"""migrations.RunSQL('''DO $$ BEGIN
    WHILE NOT pg_try_advisory_xact_lock_shared({GATE}) LOOP PERFORM pg_sleep(0.02); END LOOP;
END $$''')"""
ADMIN = {
    "DJANGO_SUPERUSER_EMAIL": "admin@example.com",
    "DJANGO_SUPERUSER_USERNAME": "admin",
    "DJANGO_SUPERUSER_PASSWORD": "correct-horse-battery-7",
}


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    return make_shop(tmp_path, database)


def close_gate(project: Project) -> Any:
    """SLOW goes on when the connection is closed that this returns."""
    connection = open_connection(project.url)
    connection.cursor().execute(f"SELECT pg_advisory_lock({GATE})")
    return connection


def running(project: Project, statement: str) -> bool:
    """Whether a statement that contains this text runs in the project's database."""
    active = project.sql(
        "SELECT query FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() "
        "AND datname = current_database()"
    )
    return any(statement in query for (query,) in active)


def ends(processes: list[subprocess.Popen[str]]) -> list[str]:
    """What each process printed; fails if one did not end with 0."""
    printed = [process.communicate(timeout=120)[0] for process in processes]
    for process, text in zip(processes, printed, strict=True):
        assert process.returncode == 0, "\n---\n".join(printed) or text
    return printed


@pytest.mark.parametrize("attempt", range(4))
def test_several_containers_on_an_empty_database_all_start(shop: Project, attempt: int) -> None:
    printed = ends([shop.start("prepare", environment=ADMIN) for _ in range(4)])
    assert sum("applied shop.0001_initial" in text for text in printed) == 1
    assert sum("superuser admin created" in text for text in printed) == 1
    assert shop.sql("SELECT count(*) FROM auth_user") == [(1,)]
    assert shop.sql("SELECT count(*) FROM django_migrations WHERE app = 'shop'") == [(1,)]


def test_the_one_that_waits_says_for_whom_and_finds_nothing_to_do(shop: Project) -> None:
    gate = close_gate(shop)
    shop.migration("shop", "0002_slow", SLOW, after="0001_initial")
    first = shop.start("migrate")
    until(lambda: running(shop, "pg_sleep"), "the first process at work")
    second = shop.start("migrate")
    assert second.stdout is not None
    assert "database ready" in second.stdout.readline()
    waited = second.stdout.readline()
    assert "another process holds the lock; waiting for postdo " in waited
    assert "(pid " in waited
    gate.close()
    _, rest = ends([first, second])
    waited += rest
    assert "connected since" in waited
    assert "nothing to migrate" in waited


def test_the_next_one_goes_on_when_the_holder_is_killed_while_it_only_holds(shop: Project) -> None:
    holder = open_connection(shop.url)
    holder.cursor().execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
    waiting = shop.start("migrate")
    assert waiting.stdout is not None
    assert "database ready" in waiting.stdout.readline()
    assert "another process holds the lock" in waiting.stdout.readline()
    holder.close()
    (printed,) = ends([waiting])
    assert "applied shop.0001_initial" in printed


def test_one_that_loses_its_session_while_it_waits_goes_on_waiting(shop: Project) -> None:
    """Nothing was begun, so nothing can be undone: a swap ends all other sessions, for example."""
    holder = open_connection(shop.url)
    holder.cursor().execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
    waiting = shop.start("migrate")
    assert waiting.stdout is not None
    assert "database ready" in waiting.stdout.readline()
    assert "another process holds the lock" in waiting.stdout.readline()
    shop.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name LIKE 'postdo %' AND datname = current_database()"
    )
    assert "the session ended while postdo waited" in waiting.stdout.readline()
    assert "database ready" in waiting.stdout.readline()
    assert "another process holds the lock" in waiting.stdout.readline()
    holder.close()
    (printed,) = ends([waiting])
    assert "applied shop.0001_initial" in printed


def test_one_that_waits_while_another_swaps_the_database_finds_nothing_to_do(shop: Project) -> None:
    vacuum = "migrations.RunSQL('VACUUM shop_item', '')"
    allowed = {"ON_DOWNTIME": "allow", "ON_INCOMPATIBLE": "allow", "LOCK_SECONDS": "60"}
    ends([shop.start("migrate")])
    shop.migration("shop", "0002_swap", vacuum, after="0001_initial", header="atomic = False")
    both = [shop.start("prepare", environment={**ADMIN, **allowed}) for _ in range(2)]
    printed = ends(both)
    assert sum("swap: done" in text for text in printed) == 1
    assert sum("nothing to migrate" in text for text in printed) == 1
    assert shop.sql("SELECT count(*) FROM auth_user") == [(1,)]


def test_the_next_one_waits_for_what_a_killed_holder_left_running(shop: Project) -> None:
    create = "migrations.RunSQL('CREATE TABLE orphan ()')"
    operations = f"{create}, {SLOW}"
    gate = close_gate(shop)
    slow = shop.migration("shop", "0002_slow", operations, after="0001_initial")
    first = shop.start("migrate")
    until(lambda: running(shop, "pg_sleep"), "the first process at work")
    second = shop.start("migrate")
    assert second.stdout is not None
    assert "database ready" in second.stdout.readline()
    assert "another process holds the lock" in second.stdout.readline()
    # Corrected meanwhile, and now without anything that would meet the locks of the other one.
    slow.write_text(slow.read_text().replace(operations, create.replace("orphan", "adopted")))
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert running(shop, "pg_sleep"), "the server should go on with a killed client's statement"
    gate.close()
    (printed,) = ends([second])
    assert "applied shop.0002_slow" in printed
    assert not running(shop, "pg_sleep")
    assert shop.sql("SELECT to_regclass('orphan'), to_regclass('adopted')::text") == [
        (None, "adopted")
    ]


def test_two_that_write_the_same_missing_migration_write_it_once(shop: Project) -> None:
    shop.write("shop/models.py", f"{ITEM}    price = models.IntegerField(default=0)\n")
    development = {"POSTDO_MODE": "development", "DEBUG": "on"}
    printed = ends([shop.start("prepare", environment=development) for _ in range(3)])
    assert sum("makemigrations: " in text for text in printed) == 1
    assert len(list(shop.root.glob("shop/migrations/000*.py"))) == 2


def test_nothing_to_do_does_not_wait_for_the_lock(shop: Project) -> None:
    assert shop.run("prepare", environment=ADMIN).code == 0
    holder = open_connection(shop.url)
    try:
        holder.cursor().execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
        outcome = shop.run("prepare", environment=ADMIN)
    finally:
        holder.close()
    assert outcome.code == 0
    assert "waiting" not in outcome.out
