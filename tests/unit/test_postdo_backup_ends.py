"""A copy that is ended from outside: by a signal, by kill -9, by its budget. Nothing stays."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from driving import drive, scratch_names, start
from projects import Project, open_connection
from shop_copies import COPY, PROGRAMS, finished, shop, unfinished
from waiting import until

from embedded_postgres import Cluster

LOCK = "BEGIN; LOCK TABLE shop_item IN ACCESS EXCLUSIVE MODE"


# An index that takes for ever in a copy, and no time in the database itself.
SLOW_INDEX = """
CREATE FUNCTION slow(bigint) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    IF current_database() LIKE 'postdo_scratch_%' THEN PERFORM pg_catalog.pg_sleep(1); END IF;
    RETURN $1;
END $$;
CREATE INDEX slow ON shop_item (slow(id))
"""
RESTORING = """
SELECT pid FROM pg_stat_activity
WHERE application_name LIKE 'postdo copy %' AND query LIKE 'CREATE INDEX slow%'
"""


@pytest.fixture(autouse=True)
def programs_of_the_server(postgres: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process of these tests finds pg_dump where the test's own server comes from."""
    monkeypatch.setitem(PROGRAMS, "POSTDO_PG_BIN", str(postgres.status().programs))


def dumping(project: Project) -> list[int]:
    """The sessions of pg_dump and pg_restore on this database."""
    found = project.sql(
        "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'postdo copy %' "
        "AND datname = current_database() AND backend_type = 'client backend'"
    )
    return [pid for (pid,) in found]


def processes() -> dict[int, str]:
    """The arguments of every process, as everybody can read them."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue  # it has ended meanwhile
    return found


def at_work(project: Project) -> list[str]:
    """The pg_dump and pg_restore that know this project's folder or database."""
    name = urlsplit(project.url).path[1:]
    return [
        line
        for pid, line in processes().items()
        if ("pg_dump " in line or "pg_restore " in line) and name in environ(pid)
    ]


def environ(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_text()
    except OSError:
        return ""


@contextmanager
def stuck(
    project: Project, extra: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A copy that waits in its dump for a lock that the test holds."""
    with closing(open_connection(project.url)) as holder:
        holder.cursor().execute(LOCK)
        process = start(project, COPY, extra)
        try:
            waiting = (
                "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'postdo copy %' "
                "AND datname = current_database() AND wait_event_type = 'Lock'"
            )
            until(lambda: project.sql(waiting), "pg_dump waiting for the lock")
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.communicate()


@contextmanager
def slowly_restoring(project: Project) -> Iterator[subprocess.Popen[str]]:
    """A copy that is busy in one of pg_restore's helpers."""
    project.sql(SLOW_INDEX)
    process = start(project, COPY)
    try:
        until(lambda: project.sql(RESTORING), "pg_restore making the index")
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate()


def test_a_killed_dump_has_no_final_name_ends_itself_and_is_removed_by_the_next(
    tmp_path: Path, database: str
) -> None:
    folder = tmp_path / "backups"
    project = shop(tmp_path, database, {"POSTDO_BACKUPS": str(folder)})
    with stuck(project) as process:
        (part,) = unfinished(folder)
        process.kill()
        process.communicate()
        until(lambda: not at_work(project), "the end of pg_dump")
        until(lambda: not dumping(project), "the end of pg_dump's session")
        assert finished(folder) == []
        assert unfinished(folder) == [part]
    outcome = drive(project, COPY)
    assert outcome.code == 0, outcome.err
    assert unfinished(folder) == []
    assert len(finished(folder)) == 1
    assert scratch_names(project.url) == []


def test_the_unfinished_dump_of_a_living_process_is_left_alone(
    tmp_path: Path, database: str
) -> None:
    folder = tmp_path / "backups"
    project = shop(tmp_path, database, {"POSTDO_BACKUPS": str(folder)})
    with stuck(project):
        parts = unfinished(folder)
        outcome = drive(project, "print(backup.check_room(run, session) > 0)")
        assert outcome.out == "True\n", outcome.err
        assert unfinished(folder) == parts
        assert len(parts) == 1


def test_the_time_budget_ends_the_dump_and_leaves_nothing(tmp_path: Path, database: str) -> None:
    folder = tmp_path / "backups"
    project = shop(tmp_path, database, {"POSTDO_BACKUPS": str(folder)})
    with stuck(project, {"REHEARSE_SECONDS": "2"}) as process:
        printed, _ = process.communicate(timeout=30)
        assert process.returncode == 3, printed
        assert "longer than the 2 s that REHEARSE_SECONDS allows" in printed
        assert at_work(project) == []
        until(lambda: not dumping(project), "the end of pg_dump's session")
    assert list(folder.iterdir()) == []
    assert scratch_names(project.url) == []


@pytest.mark.parametrize("kept", ["folder", "pipe"])
def test_a_stop_signal_ends_the_dump_and_leaves_nothing(
    tmp_path: Path, database: str, kept: str
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    extra = {"POSTDO_BACKUPS": str(folder)} if kept == "folder" else {}
    project = shop(tmp_path, database, extra)
    with stuck(project) as process:
        assert at_work(project) != []
        os.kill(process.pid, signal.SIGTERM)
        printed, _ = process.communicate(timeout=30)
        assert process.returncode == 143, printed
        assert at_work(project) == []
        until(lambda: not dumping(project), "the end of pg_dump's session")
    assert list(folder.iterdir()) == []
    assert scratch_names(project.url) == []


@pytest.mark.parametrize("kept", ["folder", "pipe"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restore_ends_with_its_process_whatever_ends_that(
    tmp_path: Path, database: str, kept: str, number: signal.Signals
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    extra = {"POSTDO_BACKUPS": str(folder)} if kept == "folder" else {}
    project = shop(tmp_path, database, extra)
    with slowly_restoring(project) as process:
        process.send_signal(number)
        process.communicate(timeout=30)
        until(lambda: not at_work(project), "the end of pg_restore and its helpers")
        until(lambda: not project.sql(RESTORING), "the end of what the server does for it")
    assert finished(folder) == []
    assert drive(project, "scratch.remove_abandoned(run, session)").code == 0
    assert scratch_names(project.url) == []


@pytest.mark.parametrize("kept", ["folder", "pipe"])
def test_the_password_is_never_in_the_process_list(
    tmp_path: Path, database: str, kept: str
) -> None:
    extra = {"POSTDO_BACKUPS": str(tmp_path / "backups")} if kept == "folder" else {}
    project = shop(tmp_path, database, extra)
    password = urlsplit(database).password
    assert password
    with stuck(project):
        lines = list(processes().values())
        assert any("pg_dump " in line for line in at_work(project))
        assert [line for line in lines if password in line] == []
