"""HAZARDS 47, 49 and 54: a server that has no room for it, or something else to do first."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from projects import GROW_OLD, query
from waiting import until

from embedded_postgres import Application, Cluster, temporary_cluster

from .site import Site, make_site
from .steps import ADD

SETTINGS = """
ALTER SYSTEM SET max_locks_per_transaction = 10;
ALTER SYSTEM SET max_connections = 20;
ALTER SYSTEM SET autovacuum_freeze_max_age = 100000;
ALTER SYSTEM SET autovacuum_naptime = 1;
ALTER SYSTEM SET wal_init_zero = off;
ALTER SYSTEM SET wal_recycle = off
"""
# So slow that it lasts for as long as a test looks, on a slow machine too: over 1,000 pages, and
# 0.1 s or more for each.
SLOWLY = """
ALTER TABLE shop_item SET (autovacuum_enabled = off,
    autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1);
INSERT INTO shop_item (name, price) SELECT repeat('x', 50), 1 FROM generate_series(1, 100000)
"""
VACUUMING = """
SELECT pid FROM pg_stat_activity
WHERE query LIKE 'autovacuum: VACUUM%shop_item (to prevent wraparound)'
"""
END_VACUUMING = VACUUMING.replace("pid", "pg_terminate_backend(pid)", 1)


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A server with little room for locks, old transactions, and cheap pieces of WAL."""
    with temporary_cluster() as cluster:
        url = cluster.url("postgres")
        for statement in SETTINGS.split(";"):
            query(url, statement)
        parts = urlsplit(url)
        assert parts.port is not None
        cluster.stop()
        tester = Application("tester", "tester", parts.password or "", superuser=True)
        cluster.start(parts.port, tester)
        yield cluster


@pytest.fixture
def crowded(tmp_path: Path, server: Cluster) -> Iterator[Site]:
    """The shop on that server."""
    with server.fresh_database(f"crowded_{secrets.token_hex(4)}") as url:
        yield make_site(tmp_path, url)


def test_more_locks_than_the_server_has_room_for_are_refused_with_the_setting(
    crowded: Site,
) -> None:
    # HAZARDS 47: 200 is the nominal room here; PostgreSQL itself would go on a little further
    tables = "\n".join(f"CREATE TABLE many_{number} (id int PRIMARY KEY);" for number in range(100))
    crowded.migration("0002_many", f'migrations.RunSQL("""{tables}""", "")')
    crowded.ends_refused(
        "locks at once, but the server has room for 200 ", "set max_locks_per_transaction = "
    )
    few = "\n".join(tables.splitlines()[:20])
    crowded.migration("0002_many", f'migrations.RunSQL("""{few}""", "")')
    crowded.ends_done()


def test_a_standby_that_is_far_behind_is_told_and_not_lost_to_a_copy(crowded: Site) -> None:
    # HAZARDS 54
    crowded.sql("SELECT pg_create_physical_replication_slot('standby_two', true)")
    try:
        for _ in range(66):  # pieces of 16 MB, empty but for this
            crowded.sql("SELECT pg_logical_emit_message(true, 'a', 'b'), pg_switch_wal()")
        crowded.migration("0002_add", ADD)
        (problem,) = crowded.plan()["problems"]
        assert (problem["hazard"], problem["blocking"]) == (54, False)
        assert "replication slot standby_two has no consumer and retains 1" in problem["what"]
        crowded.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1200MB'")
        crowded.sql("SELECT pg_reload_conf()")
        until(lambda: crowded.sql(SAFE) != [(None,)], "the limit")
        while crowded.sql(SAFE)[0][0] > 8_000_000:
            crowded.sql("SELECT pg_logical_emit_message(false, 'a', repeat('b', 4000000))")
        crowded.ends_refused("the server invalidates replication slot standby_two")
        assert crowded.sql("SELECT wal_status <> 'lost' FROM pg_replication_slots") == [(True,)]
    finally:
        crowded.sql("SELECT pg_drop_replication_slot('standby_two')")
    crowded.ends_done()


SAFE = "SELECT safe_wal_size FROM pg_replication_slots"


def test_a_vacuum_against_wraparound_is_waited_for_and_then_it_is_done(crowded: Site) -> None:
    # HAZARDS 49
    crowded.sql(SLOWLY)
    crowded.sql("CREATE UNLOGGED TABLE numbers (n int)")
    crowded.sql(GROW_OLD)
    crowded.sql("DROP TABLE numbers")
    until(lambda: bool(crowded.sql(VACUUMING)), "the autovacuum")
    crowded.migration("0002_add", ADD)
    crowded.ends_refused(
        "must finish on shop_item to prevent transaction ID wraparound",
        "is gone from pg_stat_progress_vacuum",
    )
    # What the plan does not see is met by the change itself.
    crowded.ends_undone(
        "shop_item", "wait until that VACUUM ends", REHEARSE="off", LOCK_RETRY_SECONDS="1"
    )
    at_once = crowded.connect()
    vacuum = threading.Thread(target=lambda: at_once.cursor().execute("VACUUM FREEZE shop_item"))
    vacuum.start()
    until(lambda: bool(crowded.sql(WAITING)), "the VACUUM in the queue")
    crowded.sql(END_VACUUMING)
    vacuum.join()
    at_once.close()
    # The next worker had the table on its list already, waited behind the VACUUM, and is slow.
    until(lambda: not crowded.sql(END_VACUUMING), "the end of autovacuum on this table")
    crowded.ends_done()


WAITING = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'VACUUM %' AND wait_event_type = 'Lock'"
