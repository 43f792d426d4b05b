"""The application works on while migrations are applied: nobody waits long for anybody."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from projects import Project, open_connection, query
from waiting import until

from embedded_postgres import Cluster

from .applying import (
    ADD_STOCK,
    FILL_STOCK,
    UNDONE,
    add,
    contents,
    name_of,
    recorded,
    start,
)

LATE = "migrations.RunSQL('ALTER TABLE auth_user ADD COLUMN nickname text')"
QUICK = {"LOCK_TIMEOUT_MS": "200", "LOCK_RETRY_SECONDS": "60"}
IMPATIENT = {"LOCK_TIMEOUT_MS": "200", "LOCK_RETRY_SECONDS": "1"}


@dataclass
class Application:
    """A session of the application, in an open transaction."""

    connection: Any
    pid: int = 0

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        cursor = self.connection.cursor()
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []


@contextmanager
def application(url: str, *statements: str) -> Iterator[Application]:
    """It has executed these statements, and keeps its transaction open."""
    with closing(open_connection(url)) as connection:
        one = Application(connection)
        one.execute("SET application_name = 'gunicorn shop'")
        ((one.pid,),) = one.execute("SELECT pg_backend_pid()")
        one.execute("BEGIN")
        for statement in statements:
            one.execute(statement)
        yield one


def go_on(process: subprocess.Popen[str]) -> None:
    """It has rehearsed, and waited to be told."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def line(process: subprocess.Popen[str], words: str) -> str:
    """The next line that has these words."""
    assert process.stdout is not None
    while words not in (printed := process.stdout.readline()):
        assert printed, f"ended without: {words}"
    return printed


def ended(process: subprocess.Popen[str], code: int) -> str:
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == code, printed
    return printed


def is_blocked(url: str, pid: int) -> bool:
    """Whether a session waits for one of ours."""
    waits = "SELECT count(*) FROM unnest(pg_blocking_pids({})) AS b(pid) JOIN pg_stat_activity a "
    waits += "USING (pid) WHERE a.application_name LIKE 'postdo %'"
    return query(url, waits.format(pid)) != [(0,)]


@pytest.mark.parametrize("rehearse", [True, False])
def test_a_lock_of_the_application_is_waited_for_and_its_holder_named(
    shop: Project, *, rehearse: bool
) -> None:
    add(shop, ADD_STOCK, FILL_STOCK)
    process = start(shop, QUICK, rehearse=rehearse, pause=True)
    line(process, "paused")
    with application(shop.url, "SELECT count(*) FROM shop_item") as holder:
        go_on(process)
        said = line(process, "trying again")
        assert f"shop_item is locked by gunicorn shop (pid {holder.pid}, idle in tr" in said
        assert "SELECT count(*) FROM shop_item" in said
        assert recorded(shop.url) == ["0001_initial"]
    printed = ended(process, 0)
    assert '"attempts": 1,' not in printed
    assert recorded(shop.url) == ["0001_initial", "0002_step", "0003_step"]


@pytest.mark.parametrize("rehearse", [True, False])
def test_a_lock_that_is_never_released_ends_undone_with_the_holder_named(
    shop: Project, *, rehearse: bool
) -> None:
    add(shop, ADD_STOCK)
    before = contents(shop.url)
    process = start(shop, IMPATIENT, rehearse=rehearse, pause=True)
    line(process, "paused")
    with application(shop.url, "SELECT count(*) FROM shop_item") as holder:
        go_on(process)
        printed = ended(process, UNDONE)
    assert "canceling statement due to lock timeout; tried " in printed
    assert f"shop_item is locked by gunicorn shop (pid {holder.pid}, idle in tr" in printed
    assert f"SELECT pg_terminate_backend({holder.pid})" in printed
    assert contents(shop.url) == before


def test_rows_that_the_application_has_locked_are_waited_for(shop: Project) -> None:
    add(shop, FILL_STOCK.replace("stock = 7", "name = name"))
    with application(shop.url, "UPDATE shop_item SET name = 'mine' WHERE id = 7"):
        process = start(shop, QUICK)
        said = line(process, "trying again")
        assert "is locked by gunicorn shop" in said
    ended(process, 0)


@dataclass
class Reader:
    """A visitor of the site, who reads a table again and again."""

    url: str
    table: str
    pid: int = 0
    reads: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    def read(self) -> None:
        with closing(open_connection(self.url)) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT pg_backend_pid()")
            ((self.pid,),) = cursor.fetchall()
            while not self.stopped.wait(0.01):
                cursor.execute(f"SELECT count(*) FROM {self.table}")  # noqa: S608
                self.reads += 1


@contextmanager
def reader(url: str, table: str) -> Iterator[Reader]:
    one = Reader(url, table)
    thread = threading.Thread(target=one.read)
    thread.start()
    try:
        until(lambda: one.reads > 0, "the first read")
        yield one
    finally:
        one.stopped.set()
        thread.join()


@pytest.mark.parametrize("table", ["shop_item", "auth_user"])
def test_readers_get_through_while_the_lock_is_waited_for(shop: Project, table: str) -> None:
    """They wait behind us, or for a lock that we have already, and no longer than we do."""
    add(shop, ADD_STOCK, LATE)
    process = start(shop, QUICK, rehearse=True, pause=True)
    line(process, "paused")
    # This one waits for nothing, so that without our giving up it would never end.
    with application(shop.url, "SELECT count(*) FROM shop_item"), reader(shop.url, table) as one:
        go_on(process)
        for _ in range(3):
            until(lambda: is_blocked(shop.url, one.pid), "a reader that waits for us")
            reads = one.reads
            until(lambda before=reads: one.reads > before + 1, "its next reads")  # type: ignore[misc]
        assert process.poll() is None
    ended(process, 0)


def test_a_deadlock_with_the_application_is_tried_again(shop: Project) -> None:
    add(shop, ADD_STOCK, LATE)
    # Ours is the one to look for deadlocks, and so the one to give way.
    shop.sql(f"ALTER DATABASE {name_of(shop.url)} SET deadlock_timeout = '2s'")
    patient = {"LOCK_TIMEOUT_MS": "30000", "LOCK_RETRY_SECONDS": "60"}
    with application(
        shop.url, "SET deadlock_timeout = '60s'", "LOCK TABLE auth_user IN ROW EXCLUSIVE MODE"
    ) as holder:
        process = start(shop, patient)
        until(lambda: waits_for(shop, holder.pid), "our session waiting for the application")
        # It is granted as soon as our transaction has been rolled back.
        holder.execute("LOCK TABLE shop_item IN ROW EXCLUSIVE MODE")
        assert recorded(shop.url) == ["0001_initial"]
        holder.execute("COMMIT")
    printed = ended(process, 0)
    assert "shop.0003_step: deadlock detected" in printed
    assert '"attempts": 1,' not in printed


def waits_for(shop: Project, pid: int) -> bool:
    """Whether one of our sessions waits for this one."""
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'postdo %' "
    return shop.sql(f"{ours} AND {pid} = ANY(pg_blocking_pids(pid))") != [(0,)]


@pytest.fixture
def eager_autovacuum(postgres: Cluster) -> Iterator[None]:
    """An autovacuum that looks for work each second, instead of each minute."""
    server = postgres.url("postgres")
    query(server, "ALTER SYSTEM SET autovacuum_naptime = '1s'")
    query(server, "SELECT pg_reload_conf()")
    yield
    query(server, "ALTER SYSTEM RESET autovacuum_naptime")
    query(server, "SELECT pg_reload_conf()")


@pytest.mark.usefixtures("eager_autovacuum")
@pytest.mark.parametrize(("rehearse", "attempts"), [(True, 1), (False, 2)])
def test_an_autovacuum_gives_way_although_no_lock_is_waited_for_that_long(
    shop: Project, attempts: int, *, rehearse: bool
) -> None:
    """PostgreSQL ends it after deadlock_timeout, 1 s, and ours is 0.2 s."""
    add(shop, ADD_STOCK)
    shop.sql(
        "ALTER TABLE shop_item SET (autovacuum_vacuum_cost_delay = 100, "
        "autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 1, "
        "autovacuum_vacuum_scale_factor = 0)"
    )
    process = start(shop, QUICK, rehearse=rehearse, pause=True)
    line(process, "paused")
    shop.sql("INSERT INTO shop_item (name) SELECT 'bulk' FROM generate_series(1, 30000)")
    shop.sql("DELETE FROM shop_item WHERE name = 'bulk'")
    at_work = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'autovacuum: VACUUM%shop_item'"
    )
    until(lambda: shop.sql(at_work) == [(1,)], "an autovacuum at work")
    go_on(process)
    printed = ended(process, 0)
    assert f'"attempts": {attempts},' in printed, printed
