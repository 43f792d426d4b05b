"""What the server itself has against a change, each seen on a server that really has it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import forkserver
import pytest
from fake_pooler import pooler
from projects import GROW_OLD, Project, make, need_icu, open_connection, query

from embedded_postgres import Application, temporary_cluster

ASK = """
import json, os, sys
from dataclasses import asdict
import django
django.setup()
from postdo.schema import catalogue
from postdo.base import config, console, database, context, signals
from postdo.checks import server
from postdo.rehearsal import rehearse, trace
from postdo.schema.catalogue import Catalogue, Entry

asked = json.loads(sys.argv[1])
for name, value in asked.get("limits", {}).items():
    assert hasattr(server, name)
    setattr(server, name, value)
with database.closing(database.connect("postdo test", 5)) as session:
    now = catalogue.read(session)
    before = Catalogue(asked.get("major", now.major), now.entries)
    coming = tuple(Entry(*entry) for entry in asked.get("coming", ()))
    step = trace.Step("shop.0002_more", 0.1, (), (), tuple(asked.get("rewrites", ())), ())
    seen = trace.Trace(
        steps=(step,), locks=(), losses=(), seconds=0.1, peak_memory_mb=50,
        effects=tuple(trace.Effect(*effect) for effect in asked.get("effects", ())),
        altered=tuple(asked.get("altered", ())),
        lock_count=asked.get("lock_count", 10), wal_bytes=asked.get("wal_bytes", 1000),
        before=before, after=Catalogue(before.major, before.entries + coming),
    )
    rehearsed = rehearse.Rehearsal("full", "transaction", seen, None, None, (), "", 1.0, 1000)
    ours = context.Run(
        config.read(os.environ), console.Console(sys.stdout, sys.stderr), signals.StopSignals()
    )
    found = server.server_problems(ours, session, None if asked.get("none") else rehearsed)
    print(json.dumps([asdict(problem) for problem in found]))
"""
TABLES = """
CREATE TABLE shop_item (id bigint PRIMARY KEY, name text);
INSERT INTO shop_item SELECT n, 'item ' || n FROM generate_series(1, 1000) n;
CREATE TABLE shop_note (id bigint PRIMARY KEY, body text);
INSERT INTO shop_note VALUES (1, 'first');
"""
ITEM = "public.shop_item"

Found = list[dict[str, Any]]


def ask(project: Project, environment: dict[str, str] | None = None, **asked: object) -> Found:
    """The problems for a rehearsal that saw this."""
    done = forkserver.run(
        [sys.executable, "ask.py", json.dumps(asked)],
        cwd=project.root,
        env=project.variables(environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "postdo: warning" not in done.stderr, done.stderr
    found: Found = json.loads(done.stdout)
    return found


def shop_on(root: Path, url: str) -> Project:
    project = make(root, url)
    project.write("ask.py", ASK)
    return project


def only(found: Found, hazard: int) -> dict[str, Any]:
    assert [problem["hazard"] for problem in found] == [hazard], found
    assert found[0]["next_step"]
    return found[0]


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    """A database with two tables that have rows."""
    query(database, TABLES)
    return shop_on(tmp_path, database)


@pytest.fixture
def clerk(shop: Project, tmp_path: Path) -> Iterator[Project]:
    """The same database as a role that owns nothing in it, and is nobody."""
    name = f"clerk_{urlsplit(shop.url).path[-8:]}"
    shop.sql(f"CREATE ROLE {name} LOGIN PASSWORD 'clerk'")
    url = urlsplit(shop.url)
    netloc = f"{name}:clerk@{url.hostname}:{url.port}"
    try:
        yield shop_on(tmp_path, url._replace(netloc=netloc).geturl())
    finally:
        shop.sql(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_nothing_stands_in_the_way_on_a_server_that_is_well(shop: Project) -> None:
    assert ask(shop, altered=[ITEM], effects=[[ITEM, 1, 2, 3]], rewrites=[ITEM]) == []
    assert ask(shop, none=True) == []


# 28: collations.


def do(project: Project, next_step: str) -> None:
    """The statements of a remedy, word for word."""
    for statement in next_step.removeprefix("at a quiet time: ").split("; "):
        project.sql(statement)


def make_old_collation(project: Project) -> None:
    need_icu(project.url)
    project.sql("CREATE COLLATION german (provider = icu, locale = 'de')")
    project.sql("ALTER TABLE shop_item ALTER name TYPE text COLLATE german")
    project.sql("UPDATE pg_collation SET collversion = '1.1' WHERE collname = 'german'")


def test_another_version_of_a_collation_is_a_warning_where_nothing_is_built_on_it(
    shop: Project,
) -> None:
    make_old_collation(shop)
    problem = only(ask(shop, altered=[ITEM]), 28)
    assert not problem["blocking"]
    assert "collation german were built with its version 1.1" in problem["what"]
    do(shop, problem["next_step"])
    assert ask(shop, altered=[ITEM]) == []


def test_another_version_of_a_collation_blocks_a_new_index(shop: Project) -> None:
    make_old_collation(shop)
    facts = {"columns": "name", "definition": "CREATE INDEX ON x", "unique": "no"}
    problem = only(ask(shop, coming=[["index", ITEM, "by_name", facts]]), 28)
    assert problem["blocking"]
    on_a_new_table = [["index", "public.shop_new", "by_name", facts]]
    assert not only(ask(shop, coming=on_a_new_table), 28)["blocking"]
    assert only(ask(shop, rewrites=[ITEM]), 28)["blocking"]


def test_another_version_of_the_databases_own_collation_is_seen(
    tmp_path: Path, database: str
) -> None:
    need_icu(database)
    name = f"icu_{urlsplit(database).path[-8:]}"
    query(
        database,
        f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de'",
    )
    try:
        project = shop_on(tmp_path, urlsplit(database)._replace(path=f"/{name}").geturl())
        assert ask(project) == []
        project.sql(
            "UPDATE pg_database SET datcollversion = '1' WHERE datname = current_database()"
        )
        problem = only(ask(project), 28)
        assert "with version 1 of collation de," in problem["what"]
        do(project, problem["next_step"])
        assert ask(project) == []
    finally:
        query(database, f"DROP DATABASE {name} WITH (FORCE)")


# 43: transactions that go on for long.


def test_an_old_transaction_on_an_altered_table_is_named_and_does_not_block(shop: Project) -> None:
    other = open_connection(shop.url)
    try:
        with other.cursor() as cursor:
            cursor.execute("SET application_name = 'nightly report'")
            cursor.execute("BEGIN")
            cursor.execute("SELECT count(*), pg_backend_pid() FROM shop_item")
            pid = cursor.fetchone()[1]
            found = ask(shop, altered=[ITEM], limits={"OLD_TRANSACTION_SECONDS": 0})
            problem = only(found, 43)
            assert not problem["blocking"]
            assert f"session {pid} (nightly report) has held locks on shop_item" in problem["what"]
            assert f"pg_terminate_backend({pid})" in problem["next_step"]
            elsewhere = ["public.shop_note"]
            assert ask(shop, altered=elsewhere, limits={"OLD_TRANSACTION_SECONDS": 0}) == []
            assert ask(shop, altered=[ITEM], limits={"OLD_TRANSACTION_SECONDS": 600}) == []
    finally:
        other.close()


# 47: the lock table.


def test_more_locks_than_the_server_has_room_for_block_and_name_the_setting(shop: Project) -> None:
    ((locks, sessions),) = shop.sql(
        "SELECT current_setting('max_locks_per_transaction')::int, "
        "current_setting('max_connections')::int"
        " + current_setting('max_prepared_transactions')::int"
    )
    most = locks * sessions * 8 // 10
    assert ask(shop, lock_count=most) == []
    problem = only(ask(shop, lock_count=most + 1), 47)
    assert problem["blocking"]
    assert f"room for {locks * sessions}" in problem["what"]
    assert "max_locks_per_transaction = 256" in problem["next_step"]
    problem = only(ask(shop, lock_count=400 * sessions), 47)
    assert "max_locks_per_transaction = 512" in problem["next_step"]


# 48: poolers.


def test_a_pooler_in_transaction_mode_blocks(shop: Project, tmp_path: Path) -> None:
    with pooler(shop.url, "transaction") as url:
        problem = only(ask(shop_on(tmp_path, url)), 48)
    assert problem["blocking"]
    assert "does not keep sessions: two sessions got the same server process" in problem["what"]
    assert "connect directly to PostgreSQL" in problem["next_step"]


def test_a_pooler_in_session_mode_is_no_obstacle(shop: Project, tmp_path: Path) -> None:
    with pooler(shop.url, "session") as url:
        assert ask(shop_on(tmp_path, url), altered=[ITEM]) == []


# 53: the disk.


def test_a_change_that_does_not_fit_the_servers_disk_blocks(shop: Project) -> None:
    gigabyte = 2**30
    free = {"POSTDO_SERVER_FREE_MB": "1000"}
    problem = only(ask(shop, free, wal_bytes=gigabyte), 53)
    assert problem["blocking"]
    assert "needs about 1792 MB" in problem["what"]
    assert ask(shop, free, wal_bytes=gigabyte // 4) == []
    assert ask(shop, wal_bytes=100 * gigabyte) == []


def test_a_table_that_is_written_anew_needs_its_size_once_more(shop: Project) -> None:
    shop.sql("INSERT INTO shop_note SELECT n, repeat('x', 900) FROM generate_series(2, 9000) n")
    free = {"POSTDO_SERVER_FREE_MB": "262"}
    assert ask(shop, free) == []
    assert only(ask(shop, free, rewrites=["public.shop_note"]), 53)["blocking"]


# 56: privileges.


def test_a_table_of_another_owner_blocks_with_the_statement_that_helps(
    shop: Project, clerk: Project
) -> None:
    problem = only(ask(clerk, altered=[ITEM]), 56)
    role = urlsplit(clerk.url).username
    assert problem["blocking"]
    assert f"{role} must own shop_item to change it, but its owner is tester" in problem["what"]
    assert f"ALTER TABLE shop_item OWNER TO {role}" in problem["next_step"]
    shop.sql(f"ALTER TABLE shop_item OWNER TO {role}")
    assert ask(clerk, altered=[ITEM]) == []


def test_new_tables_in_a_schema_where_the_role_may_not_create_block(
    shop: Project, clerk: Project
) -> None:
    coming = [["table", "public.shop_new", "shop_new", {}]]
    problem = only(ask(clerk, coming=coming), 56)
    role = urlsplit(clerk.url).username
    assert f"GRANT CREATE ON SCHEMA public TO {role}" in problem["next_step"]
    shop.sql(f"GRANT CREATE ON SCHEMA public TO {role}")
    assert ask(clerk, coming=coming) == []


@pytest.mark.parametrize(
    ("privilege", "effect"), [("INSERT", [1, 0, 0]), ("UPDATE", [0, 1, 0]), ("DELETE", [0, 0, 1])]
)
def test_rows_that_the_role_may_not_change_block(
    shop: Project, clerk: Project, privilege: str, effect: list[int]
) -> None:
    problem = only(ask(clerk, effects=[[ITEM, *effect]]), 56)
    role = urlsplit(clerk.url).username
    assert f"GRANT {privilege} ON shop_item TO {role}" in problem["next_step"]
    shop.sql(f"GRANT {privilege} ON shop_item TO {role}")
    assert ask(clerk, effects=[[ITEM, *effect]]) == []


# 64: another major version.


def test_a_rehearsal_on_another_major_version_does_not_count(shop: Project) -> None:
    assert only(ask(shop, major=9), 64)["blocking"]


# 49 and 54, and prepared transactions: on a server of their own, that is set up for it.

SETTINGS = """
ALTER SYSTEM SET max_prepared_transactions = 3;
ALTER SYSTEM SET autovacuum_freeze_max_age = 100000;
ALTER SYSTEM SET autovacuum_naptime = 1;
ALTER SYSTEM SET max_slot_wal_keep_size = '64MB'
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with temporary_cluster() as cluster, cluster.fresh_database("shop") as url:
        for statement in SETTINGS.split(";"):
            query(url, statement)
        port = urlsplit(url).port
        assert port is not None
        cluster.stop()
        cluster.start(port, application_of(url))
        query(url, TABLES)
        yield shop_on(tmp_path_factory.mktemp("server"), url)


def application_of(url: str) -> Application:
    parts = urlsplit(url)
    return Application("tester", parts.username or "", parts.password or "", superuser=True)


def test_a_prepared_transaction_that_nobody_ends_is_named(server: Project) -> None:
    other = open_connection(server.url)
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("DELETE FROM shop_note")
        cursor.execute("PREPARE TRANSACTION 'forgotten'")
    other.close()
    try:
        problem = only(ask(server, altered=["public.shop_note"]), 43)
        assert "prepared transaction 'forgotten' has held locks on shop_note" in problem["what"]
        assert ask(server, altered=[ITEM]) == []
    finally:
        server.sql("ROLLBACK PREPARED 'forgotten'")


def test_a_replication_slot_that_nobody_reads_is_named_and_blocks_before_it_is_lost(
    server: Project,
) -> None:
    server.sql("SELECT pg_create_physical_replication_slot('standby_two', true)")
    try:
        server.sql("CREATE TABLE filler AS SELECT repeat('x', 500) FROM generate_series(1, 2000)")
        far = {"FAR_BEHIND_BYTES": 500_000}
        problem = only(ask(server, limits=far), 54)
        assert not problem["blocking"]
        assert "replication slot standby_two has no consumer and retains" in problem["what"]
        assert "pg_drop_replication_slot('standby_two')" in problem["next_step"]
        assert only(ask(server, limits=far, wal_bytes=600_000), 54)["blocking"]
        problem = only(ask(server, limits=far, wal_bytes=2**30), 54)
        assert "more than the server can keep for it" in problem["what"]
        assert ask(server) == []
    finally:
        server.sql("SELECT pg_drop_replication_slot('standby_two'); DROP TABLE filler")


def test_autovacuum_against_wraparound_on_an_altered_table_blocks(server: Project) -> None:
    # Vacuumed for no other reason, and so slowly that it lasts for as long as the test looks.
    server.sql(
        "CREATE TABLE old_item WITH (autovacuum_enabled = off, "
        "autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1) AS "
        "SELECT n, repeat('x', 500) FROM generate_series(1, 20000) n"
    )
    server.sql("CREATE UNLOGGED TABLE numbers (n int)")
    server.sql(GROW_OLD)
    server.sql("SELECT pg_current_xact_id()")
    until = time.monotonic() + 60
    found: Found = []
    while not any(problem["hazard"] == 49 for problem in found):
        assert time.monotonic() < until, server.sql("SELECT query FROM pg_stat_activity")
        found = ask(server, altered=["public.old_item"])
    problem = only(found, 49)
    assert problem["blocking"]
    assert "must finish on old_item to prevent transaction ID wraparound" in problem["what"]
    assert "wait until pid" in problem["next_step"]
    assert ask(server, altered=["public.nothing"]) == []
