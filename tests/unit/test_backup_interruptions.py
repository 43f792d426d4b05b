"""A backup that ends at any step, by a kill -9 or a full disk: what is left is no set."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from backup_sets import fill, request
from programs import small_file_system
from projects import open_connection, query
from waiting import until

from embedded_postgres import Cluster
from postdo_backup import archives, digests, folder
from postdo_backup import create as creation
from postdo_backup.check import check
from postdo_backup.create import create
from postdo_backup.errors import BackupFailed

# In the order in which a backup comes by them; it is killed after each, and before the last one.
STEPS: tuple[tuple[Any, str], ...] = (
    (creation, "_snapshot"),
    (creation, "_globals"),
    (digests, "sequences"),
    (creation, "_dump"),
    (digests, "tables"),
    (archives, "write_uploads"),
    (archives, "write_site"),
    (creation, "file_of"),
    (creation, "write"),
    (folder, "_close_to_others"),
    (folder, "_sync"),
    (Path, "rename"),
)

WAITING = """
SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'shop_item'::regclass
"""
SLEEPING = """
SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'
"""
SLOW_DIGEST = "SELECT pg_sleep(600)"


@pytest.fixture(autouse=True)
def programs(postgres: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTDO_PG_BIN", str(postgres.status().programs))


def sets(root: Path) -> Iterator[Path]:
    """What looks like a set."""
    return (path for path in root.iterdir() if not path.name.endswith(".part"))


def killed_at(place: Any, name: str, when: str, asked: creation.Request) -> None:
    """Back up in a process that is killed at a step; it must get there."""
    real = getattr(place, name)

    def deadly(*arguments: Any, **options: Any) -> None:
        if when == "after":
            real(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    pid = os.fork()
    if pid == 0:
        try:
            setattr(place, name, deadly)
            create(asked)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "the step was not reached"


@pytest.mark.skipif(sys.platform != "linux", reason="needs a fork that is sure")
def test_a_kill_at_each_step_leaves_a_whole_set_or_none(database: str, tmp_path: Path) -> None:
    fill(database)
    asked = request(tmp_path, database)
    root = asked.final.parent
    for number, (place, name) in enumerate(STEPS):
        killed_at(place, name, "after", replace(asked, final=root / f"shop-{number}"))
        # Only the last step of all makes a set of it.
        made = [f"shop-{number}"] if name == "rename" else []
        assert [path.name for path in sets(root)] == made, name
    check(root / made[0])
    shutil.rmtree(root / made[0])
    killed_at(*STEPS[-1], "before", asked)
    assert list(sets(root)) == []
    create(asked)
    assert [path.name for path in root.iterdir()] == [asked.final.name], "what was left is gone"


def failure(asked: creation.Request) -> str:
    """What a backup failed of; empty if it did not."""
    try:
        create(asked)
    except BackupFailed as error:
        return error.what
    return ""


def test_a_disk_that_gets_full_at_any_place_leaves_none(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the look at the room beforehand, which another writer can take meanwhile."""
    monkeypatch.setattr(creation, "_check_room", lambda *_: None)
    fill(database)
    asked = request(tmp_path, database)
    said, size = set(), 8
    while True:
        disk = asked.final.parent
        with small_file_system(disk, f"size={size}k"):
            if failed := failure(asked):
                said.add(failed)
                assert list(disk.iterdir()) == [], failed
            else:
                check(asked.final)
                break
        size += 8
    assert len(said) >= 2, "of pg_dump and of our own files"
    assert all("No space left" in what or "disk is full" in what for what in said), said


def test_a_change_of_a_table_that_waits_for_the_backup_is_let_through(
    database: str, postgres: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes between our lock and pg_dump's, which then waits behind it, and we for pg_dump."""
    fill(database)
    monkeypatch.setattr(creation, "LOCK_SECONDS", 1)
    psql = f"{postgres.status().programs}/psql"
    change: subprocess.Popen[bytes] | None = None
    real = creation._dump

    def dump(*arguments: Any) -> None:
        nonlocal change
        change = subprocess.Popen([psql, "-qc", "ALTER TABLE shop_item ADD x int", database])
        until(lambda: query(database, WAITING), "the change waits for our lock")
        real(*arguments)

    monkeypatch.setattr(creation, "_dump", dump)
    asked = request(tmp_path, database)

    with pytest.raises(BackupFailed, match="a table stayed locked for 1 s"):
        create(asked)

    assert change is not None
    assert change.wait(60) == 0
    assert list(asked.final.parent.iterdir()) == []


def test_a_table_that_stays_locked_is_not_waited_for_for_ever(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database)
    monkeypatch.setattr(creation, "LOCK_SECONDS", 1)
    monkeypatch.setattr(creation, "LOCK_TRIES", 1)
    asked = request(tmp_path, database)
    with closing(open_connection(database)) as other:
        other.cursor().execute("BEGIN; LOCK TABLE shop_item")
        with pytest.raises(BackupFailed, match="a table stayed locked for 1 s"):
            create(asked)
    assert list(asked.final.parent.iterdir()) == []


def test_a_killed_backup_leaves_no_statement_and_no_lock(database: str, tmp_path: Path) -> None:
    query(database, "CREATE TABLE slow (a int); INSERT INTO slow VALUES (1)")
    asked = request(tmp_path, database)
    pid = os.fork()
    if pid == 0:
        try:
            digests.TABLES = SLOW_DIGEST
            create(asked)
        finally:
            os._exit(1)
    until(lambda: query(database, SLEEPING), "the digest is computed")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    until(lambda: not query(database, SLEEPING), "PostgreSQL notices")
