"""postdo_serving/database.py: fewer round trips, and not one write that is less atomic."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from gunicorns import Server, serving
from waiting import until

from embedded_postgres import Cluster
from postdo_serving import database as database_module
from postdo_serving import deferred_begin
from postdo_serving.database import is_plain_select, is_silent

# A project that knows nothing of the kit. One thread, so one connection.
SITE = """
import os
import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse, JsonResponse
from django.urls import path
from postdo_database import DATABASES

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES=DATABASES,
    DEBUG=False,
    LOGGING_CONFIG=None,
    ROOT_URLCONF="app",
    SECRET_KEY="x" * 50,
)
django.setup()

from django.db import connection, transaction
from django.db.backends.postgresql.base import DatabaseWrapper
from psycopg2.extras import DictCursor, execute_values
import io

tests = []
is_usable = DatabaseWrapper.is_usable
DatabaseWrapper.is_usable = lambda self: tests.append(1) or is_usable(self)


def execute(statement, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def read(request):
    before = connection.connection.autocommit
    execute("SELECT name FROM item WHERE name = %s ORDER BY name", ["a"])
    status = connection.connection.get_transaction_status()
    return JsonResponse({"tests": len(tests), "status": status, "autocommit": before})


def named_cursor():
    with connection.chunked_cursor() as cursor:
        cursor.execute("SELECT add_item('x') FROM generate_series(1, 1)")
        cursor.fetchall()


def savepoint():
    with transaction.atomic():
        execute("INSERT INTO item VALUES ('x')")


def called():
    with connection.cursor() as cursor:
        cursor.callproc("add_item", ["x"])


def copied():
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY item FROM STDIN", io.StringIO("x\\n"))


def copied_from():
    with connection.cursor() as cursor:
        cursor.copy_from(io.StringIO("x\\n"), "item")


def many():
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO item VALUES (%s)", [["x"]])


def values():
    with connection.cursor() as cursor:
        execute_values(cursor.cursor, "INSERT INTO item VALUES %s", [("x",)])


def drivers_own():
    with connection.connection.cursor() as cursor:
        cursor.execute(b"INSERT INTO item VALUES ('x')")


kept = []


def of_another_class():
    # It knows nothing of the connection, and outlives its request.
    if not kept:
        kept.append(connection.connection.cursor(cursor_factory=DictCursor))
    kept[0].execute("INSERT INTO item VALUES ('x')")


WAYS = {
    "insert": lambda: execute("INSERT INTO item VALUES (%s)", ["x"]),
    "with": lambda: execute("WITH new AS (INSERT INTO item VALUES ('x') RETURNING 1) TABLE new"),
    "function": lambda: execute("SELECT add_item(%s)", ["x"]),
    "quoted-function": lambda: execute('SELECT "add_item"(%s)', ["x"]),
    "in-lower-case": lambda: execute("select add_item('x')"),
    "two-statements": lambda: execute("SELECT 1; INSERT INTO item VALUES ('x')"),
    "named-cursor": named_cursor,
    "savepoint": savepoint,
    "called": called,
    "copied": copied,
    "copied-from": copied_from,
    "many": many,
    "values": values,
    "drivers-own": drivers_own,
    "of-another-class": of_another_class,
}


def write(request, way, fails):
    execute("SELECT name FROM item")
    WAYS[way]()
    execute("SELECT name FROM item")
    if fails == "yes":
        raise ValueError("of the project's own")
    return HttpResponse("ok")


def lock(request):
    execute("SELECT name FROM item FOR UPDATE")
    return JsonResponse({"status": connection.connection.get_transaction_status()})


urlpatterns = [
    path("first", transaction.non_atomic_requests(lambda request: HttpResponse("ok"))),
    path("read", read),
    path("lock", lock),
    path("write/<way>/<fails>", write),
]
application = WSGIHandler()
"""
WAYS = re.findall(r'^    "([a-z-]+)": ', SITE, re.MULTILINE)
IDLE, IN_TRANSACTION = 0, 2  # as libpq counts them
ENDED = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
TABLE = """
    CREATE TABLE item (name text);
    CREATE FUNCTION add_item(text) RETURNS void LANGUAGE sql AS 'INSERT INTO item VALUES ($1)';
"""


@pytest.fixture(scope="module")
def database(postgres: Cluster) -> Iterator[str]:
    """The site's database, with one empty table."""
    with postgres.fresh_database("round_trips") as url:
        execute(url, TABLE)
        yield url


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Server]:
    """The project on that database."""
    folder = tmp_path_factory.mktemp("site")
    url = urlsplit(database)
    entry = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": url.hostname,
        "PORT": url.port,
        "USER": url.username,
        "PASSWORD": url.password,
        "NAME": url.path.removeprefix("/"),
        "ATOMIC_REQUESTS": True,
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }
    (folder / "postdo_database.py").write_text(f"DATABASES = {{'default': {entry!r}}}\n")
    (folder / "app.py").write_text(SITE)
    with serving(folder, WEB_CONCURRENCY="1", WEB_THREADS="1") as server:
        yield server


def execute(database: str, statement: str) -> list[Any]:
    """Execute a statement beside the site; returns the rows."""
    connection = psycopg2.connect(database)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


def facts(site: Server, path: str) -> Any:
    """What a page tells."""
    status, body = site.get(path)
    assert status == 200, site.log.read_text()
    return json.loads(body)


def is_busy(site: Server) -> bool:
    """Whether the second of two requests found its connection without a test of it."""
    return bool(facts(site, "/read")["tests"] == facts(site, "/read")["tests"])


def test_a_request_that_only_reads_has_no_transaction_and_sees_none_of_it(site: Server) -> None:
    found = facts(site, "/read")
    assert (found["status"], found["autocommit"]) == (IDLE, False)


def test_a_lock_is_held_in_a_transaction(site: Server) -> None:
    assert facts(site, "/lock") == {"status": IN_TRANSACTION}


def test_whatever_writes_is_undone_with_its_request_and_kept_if_that_goes_well(
    site: Server, database: str
) -> None:
    assert len(WAYS) > 10
    for way in WAYS:
        assert site.get(f"/write/{way}/yes")[0] == 500
        assert execute(database, "SELECT name FROM item") == [], f"{way}: half of it stayed"
        assert site.get(f"/write/{way}/no") == (200, b"ok"), site.log.read_text()
        assert execute(database, "SELECT name FROM item") == [("x",)], f"{way}: it was not kept"
        execute(database, "TRUNCATE item")


def test_a_busy_connection_is_not_tested_by_a_query(site: Server) -> None:
    """The first requests may: the connection is new, or has been idle."""
    until(lambda: is_busy(site), "a request for which no query tested the connection")


def test_a_connection_that_the_server_ends_costs_no_request_an_error(
    site: Server, database: str
) -> None:
    until(lambda: is_busy(site), "a request for which no query tested the connection")
    before = facts(site, "/read")["tests"]

    assert execute(database, ENDED) == [(True,)], "it was the one that the site had kept"

    assert facts(site, "/read")["tests"] == before + 1


def test_where_the_first_select_decides_what_is_seen_the_transaction_begins_with_it(
    site: Server, database: str
) -> None:
    name = execute(database, "SELECT quote_ident(current_database())")[0][0]
    execute(
        database, f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"
    )
    try:
        execute(database, ENDED)  # the setting counts for connections from now on
        assert facts(site, "/read")["status"] == IN_TRANSACTION
    finally:
        execute(database, f"ALTER DATABASE {name} RESET default_transaction_isolation")
        execute(database, ENDED)


def test_a_session_that_changes_its_isolation_level_begins_with_its_first_select(
    database: str,
) -> None:
    connection: Any = psycopg2.connect(
        database,
        connection_factory=deferred_begin.Connection,
        cursor_factory=deferred_begin.Cursor,
    )
    try:
        with connection.cursor() as cursor:
            seen = []
            for level in ("read committed", "repeatable read"):
                connection.autocommit = True
                cursor.execute(f"SET default_transaction_isolation TO '{level}'")
                connection.autocommit = False
                cursor.execute("SELECT 1 AS a")
                seen.append(connection.info.transaction_status)
                connection.rollback()
        assert seen == [IDLE, IN_TRANSACTION]
    finally:
        connection.close()


@pytest.mark.parametrize("sent", [b"", b"x", None], ids=["silence", "something", "closed"])
def test_silence_is_an_open_connection_with_nothing_to_read(sent: bytes | None) -> None:
    server, client = socket.socketpair()
    with server, client:
        server.sendall(sent or b"")
        if sent is None:
            server.close()
        assert is_silent(client) == (sent == b"")


def test_after_a_pause_and_on_a_new_connection_the_query_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Wrapper:
        """Django's, as far as it is looked at."""

        connection: Any = None
        health_check_enabled = True
        health_check_done = False

        def close_if_health_check_failed(self) -> None:
            by_query.append(now)

    by_query: list[float] = []
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    database_module._test_without_query(Wrapper)
    wrapper = Wrapper()
    wrapper.close_if_health_check_failed()  # nothing to test
    pairs = [socket.socketpair(), socket.socketpair()]
    with pairs[0][0], pairs[0][1], pairs[1][0], pairs[1][1]:
        for pair, moment in ((0, 100.0), (0, 104.9), (0, 109.7), (0, 114.8), (1, 115.0)):
            now, wrapper.connection = moment, pairs[pair][0]
            wrapper.health_check_done = False
            wrapper.close_if_health_check_failed()
    assert by_query == [100.0, 114.8, 115.0]


def test_a_connection_that_cannot_tell_is_not_silent() -> None:
    assert not is_silent(SimpleNamespace(fileno=lambda: -1))


@pytest.mark.parametrize(
    "statement",
    [
        'SELECT "shop_item"."id", "shop_item"."for" FROM "shop_item" WHERE "shop_item"."id" = %s',
        'SELECT COUNT(*) AS "__count" FROM "a" INNER JOIN "b" ON ("a"."id" = "b"."a_id")',
        'SELECT 1 AS "a" FROM "t" WHERE UPPER("t"."name"::text) LIKE UPPER(%s) LIMIT 1',
        'SELECT DISTINCT DATE_TRUNC(%s, "t"."day" AT TIME ZONE %s) FROM "t" WHERE "id" IN (%s, %s)',
        'SELECT "t"."id" FROM "t" WHERE EXISTS(SELECT 1 FROM "u" WHERE ("u"."t" = ("t"."id")))',
        'SELECT COALESCE(SUM("t"."n"), %s)::numeric(10, 2) FROM "t" GROUP BY "t"."a"',
    ],
)
def test_what_djangos_orm_reads_with_needs_no_transaction(statement: str) -> None:
    assert is_plain_select(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "UPDATE t SET a = 1",
        "SELECTED",
        "SELECT nextval(%s)",
        "SELECT pg_advisory_xact_lock (1)",
        'SELECT "write_it"(1)',
        "SELECT app.count(1)",
        'SELECT "app".count(1)',
        'SELECT * FROM "t" FOR UPDATE',
        'SELECT * FROM "t" for no key update of "t"',
        'SELECT * INTO "u" FROM "t"',
        "SELECT CURRENT_TIMESTAMP",
        "SELECT now()",
        "SELECT 1; DELETE FROM t",
        "SELECT 1 -- ",
        "SELECT /* */ 1",
        "SELECT write_it/**/(1)",
        "SELECT $$x$$",
        "SELECT set_config(%s, %s, true)",
        'SELECT U&"write\\005fit"(1)',
        "WITH a AS (DELETE FROM t RETURNING 1) SELECT * FROM a",
        "EXPLAIN ANALYZE DELETE FROM t",
    ],
)
def test_whatever_could_do_more_than_read_needs_one(statement: str) -> None:
    assert not is_plain_select(statement)
