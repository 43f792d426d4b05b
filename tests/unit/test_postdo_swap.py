"""Swapping: a migrated copy takes the database's place, and nothing that was written is lost."""

from __future__ import annotations

import json
import random
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from projects import CREATE_ITEM, make_shop, open_connection, query

# What `postdo migrate` does in swap mode, without the command line and the plan around it.
DRIVER = """
import json, os, signal, sys
from django.db import OperationalError
from postdo.schema import catalogue
from postdo import config, project
from postdo.applying import exchange
from postdo.console import Console
from postdo.database import closing, connect, rows
from postdo.errors import PostdoError
from postdo.lock import exclusive
from postdo.run import Run
from postdo.copying.scratch import connect_to
from postdo.stop import Stopped, StopSignals
from postdo.applying.swap import swap
from postdo.rehearsing.trace import Trace

stop = StopSignals()
stop.install()
run = Run(config.read(os.environ), Console(sys.stdout, sys.stdout), stop)
project.load(run.config.settings_module)
project.set_up()
session = connect("postdo test", 10)

def inside(there):
    rows(there, "CREATE SCHEMA IF NOT EXISTS postdo_journal")
    make = "CREATE TABLE IF NOT EXISTS postdo_journal.note AS SELECT current_database() AS name"
    rows(there, make)

def fault(name):
    # Lets the process die, or the answer get lost, at one exact place.
    close, send = exchange._close, exchange.rows
    die = lambda: os.kill(os.getpid(), signal.SIGKILL)

    def closing(sessions):
        close(sessions)
        die()

    def sending(session, sql, *values):
        if sql != "COMMIT":
            return send(session, sql, *values)
        if name == "killed before the commit":
            die()
        if name == "connection lost before the commit":
            session.connection.close()
        send(session, sql)
        if name == "killed after the commit":
            die()
        raise OperationalError("server closed the connection unexpectedly")

    if name == "killed with its sessions closed":
        exchange._close = closing
    elif name:
        exchange.rows = sending

def schema(name):
    there = connect_to(name, "postdo test")
    read = catalogue.read(there)
    there.close()
    return read

def rehearsed(before, after):
    return Trace((), (), (), (), (), 0.0, 0, 0, 0, schema(before), schema(after))

fault(os.environ.get("FAULT"))
with exclusive(run, session):
    try:
        model = rehearsed(*sys.argv[1:]) if sys.argv[1:] else None
        done = swap(run, session, model, inside)
    except PostdoError as error:
        run.console.fail(type(error).__name__, error)
        sys.exit({"Refused": 3, "Undone": 4}.get(type(error).__name__, 5))
    except Stopped as stopped:
        sys.exit(stopped.exit_code)
with closing(connect("postdo test", 10)) as there:
    ((name,),) = rows(there, "SELECT current_database()")
print(json.dumps(
    {"names": done.names, "readonly": done.readonly_seconds, "old": done.old_database, "new": name}
))
"""
# `manage.py migrate`, as Django does it.
PLAIN = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
"""
HEAD = """
from django.db import connection, transaction

def second_connection(apps, editor):
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("UPDATE shop_item SET mood = 'great' WHERE id % 2 = 0")
    other.close()

def durable(apps, editor):
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("UPDATE shop_item SET name = upper(name) WHERE id % 3 = 0")

"""
ADD_MOOD = """
migrations.RunSQL("ALTER TABLE shop_item ADD COLUMN mood mood NOT NULL DEFAULT 'fine'"),
migrations.RunSQL("ALTER TYPE mood ADD VALUE 'great'"),
"""
USE_MOOD = "migrations.RunSQL(\"UPDATE shop_item SET mood = 'great' WHERE id = 1\")"
VACUUM = "migrations.RunSQL('VACUUM shop_item'), migrations.RunPython(durable)"
BROKEN = "migrations.RunSQL('SELECT pg_sleep(0.1)'), migrations.RunSQL('SELECT 1 / 0')"
PENDING = ["shop.0002_mood", "shop.0003_use", "shop.0004_second", "shop.0005_vacuum"]

# Owner, privileges, limit, settings and comment of a database.
DATABASE_FACTS = """
SELECT d.datdba::regrole::text, d.datconnlimit, shobj_description(d.oid, 'pg_database'),
       (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(d.datacl) a),
       (SELECT array_agg(s.setrole::regrole::text || s.setconfig::text ORDER BY 1)
        FROM pg_db_role_setting s WHERE s.setdatabase = d.oid)
FROM pg_database d WHERE d.datname = current_database()
"""
# Owner and privileges of each table and sequence.
OBJECT_FACTS = """
SELECT c.relname, c.relowner::regrole::text, c.relacl::text
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'S')
ORDER BY 1
"""
COLUMNS = """
SELECT table_name, column_name, udt_name, is_nullable, column_default
FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2
"""
SEQUENCES = "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1"
TABLES = (
    "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
)


class Swapping:
    """A shop with data and pending migrations that cannot run in one transaction."""

    def __init__(self, root: Path, admin: str, url: str) -> None:
        self.project = make_shop(root, url)
        self.admin = admin
        self.url = url
        self.name = url.rpartition("/")[2]

    def prepare(self) -> None:
        self.project.migration(
            "shop",
            "0001_initial",
            CREATE_ITEM + ", migrations.RunSQL(\"CREATE TYPE mood AS ENUM ('fine')\")",
        )
        self.plain()
        self.project.sql(
            "INSERT INTO shop_item (name) SELECT 'item ' || n FROM generate_series(1, 2000) n"
        )
        self.migration("0002_mood", ADD_MOOD, after="0001_initial")
        self.migration("0003_use", USE_MOOD, after="0002_mood")
        second = "migrations.RunPython(second_connection)"
        self.migration("0004_second", second, after="0003_use")
        self.migration("0005_vacuum", VACUUM, after="0004_second", header="atomic = False")

    def migration(self, name: str, operations: str, *, after: str, header: str = "") -> None:
        file = self.project.migration("shop", name, operations, after=after, header=header)
        file.write_text(HEAD + file.read_text())

    def plain(self, name: str | None = None) -> None:
        url = self.url.rpartition("/")[0] + f"/{name or self.name}"
        subprocess.run(
            [sys.executable, "-c", PLAIN],
            cwd=self.project.root,
            env=self.project.variables({"DATABASE_URL": url}),
            check=True,
            timeout=60,
        )

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", DRIVER, *arguments],
            cwd=self.project.root,
            env=self.project.variables(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        process = self.start(*arguments, **environment)
        printed, _ = process.communicate(timeout=90)
        return process.returncode, printed

    def on(self, name: str, statement: str) -> list[tuple[Any, ...]]:
        return query(self.admin.rpartition("/")[0] + f"/{name}", statement)

    def state(self, name: str | None = None) -> dict[str, Any]:
        """Everything that has to be the same in two databases, or before and after."""
        name = name or self.name
        state: dict[str, Any] = {
            "columns": self.on(name, COLUMNS),
            "sequences": self.on(name, SEQUENCES),
            "objects": self.on(name, OBJECT_FACTS),
            "enum": self.on(name, "SELECT enumlabel FROM pg_enum ORDER BY enumsortorder"),
            "applied": self.on(name, "SELECT app, name FROM django_migrations ORDER BY id"),
        }
        for (table,) in self.on(name, TABLES):
            if table != "django_migrations":  # it has times
                rows = f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t"  # noqa: S608
                state[table] = self.on(name, rows)
        return state

    def databases(self) -> list[str]:
        """Those that a swap may have left on the server."""
        found = self.on(
            "postgres",
            "SELECT datname FROM pg_database WHERE datname ~ '^postdo_scratch_' "  # noqa: S608
            f"OR datname ~ '^{self.name}_before_' ORDER BY 1",
        )
        return [name for (name,) in found]

    def drop_old(self) -> None:
        for name in self.databases():
            self.on("postgres", f'DROP DATABASE "{name}" WITH (FORCE)')


def role(admin: str, options: str) -> tuple[str, str]:
    """A new role that can log in: its name, and the database's URL for it."""
    name, password = f"role_{secrets.token_hex(4)}", secrets.token_hex(8)
    query(admin, f"CREATE ROLE {name} LOGIN PASSWORD '{password}' {options}")
    place = admin.partition("@")[2]
    return name, f"postgres://{name}:{password}@{place}"


@pytest.fixture(params=["superuser", "owner"])
def each_role(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> Iterator[Swapping]:
    """The same, once as a superuser and once as the database's owner with CREATEDB."""
    yield from _swapping(request.param, tmp_path, database)


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Iterator[Swapping]:
    yield from _swapping("superuser", tmp_path, database)


@pytest.fixture
def owner(tmp_path: Path, database: str) -> Iterator[Swapping]:
    yield from _swapping("owner", tmp_path, database)


def _swapping(who: str, root: Path, admin: str) -> Iterator[Swapping]:
    url = admin
    if who == "owner":
        name, url = role(admin, "CREATEDB")
        query(admin, f'ALTER DATABASE "{admin.rpartition("/")[2]}" OWNER TO {name}')
    shop = Swapping(root, admin, url)
    shop.prepare()
    yield shop
    shop.drop_old()


def test_what_cannot_run_in_one_transaction_is_done_by_a_swap(each_role: Swapping) -> None:
    shop = each_role
    reader, _ = role(shop.admin, "")
    shop.project.sql(f"ALTER DATABASE \"{shop.name}\" SET statement_timeout TO '77s'")
    shop.project.sql(f'ALTER DATABASE "{shop.name}" CONNECTION LIMIT 50')
    shop.project.sql(f'GRANT TEMPORARY ON DATABASE "{shop.name}" TO {reader}')
    shop.project.sql(f"GRANT SELECT ON shop_item TO {reader}")
    shop.project.sql(f"GRANT UPDATE (name) ON shop_item TO {reader} WITH GRANT OPTION")
    shop.project.sql(
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {reader}"
    )
    model = f"{shop.name}_model"
    shop.on("postgres", f'CREATE DATABASE "{model}" TEMPLATE "{shop.name}"')
    facts = shop.project.sql(DATABASE_FACTS)
    before = shop.state()
    try:
        shop.plain(model)
        code, printed = shop.run(shop.name, model)
        assert code == 0, printed
        report = json.loads(printed.splitlines()[-1])
        assert report["names"] == PENDING
        assert report["new"] == shop.name
        assert shop.databases() == [report["old"]]
        assert shop.state() == shop.state(model) != before
    finally:
        shop.on("postgres", f'DROP DATABASE "{model}"')
    assert shop.project.sql(DATABASE_FACTS) == facts
    assert shop.project.sql("SELECT count(*) FROM postdo_journal.note") == [(1,)]
    assert shop.state(report["old"]) == before
    assert f"kept as {report['old']}" in printed


class Writers:
    """Threads that insert rows in different ways, reconnect when they have to, and keep a list."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._end = threading.Event()
        self.acknowledged: set[str] = set()
        ways = (self._autocommit, self._in_transactions, self._new_connection_each_time)
        self._threads = [
            threading.Thread(target=self._write, args=(way, f"{way.__name__}-{n}"))
            for way in ways
            for n in range(2)
        ]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _write(self, way: Any, label: str) -> None:
        number = 0
        while not self._end.is_set():
            with suppress(Exception):  # the connection was ended: a site reconnects too
                connection = open_connection(self._url)
                try:
                    while not self._end.is_set():
                        number += 2
                        names = {f"{label}-{number}", f"{label}-{number + 1}"}
                        way(connection.cursor(), names)
                        self.acknowledged |= names
                        if way == self._new_connection_each_time:
                            break
                finally:
                    connection.close()

    def _autocommit(self, cursor: Any, names: set[str]) -> None:
        for name in names:
            cursor.execute("INSERT INTO shop_item (name) VALUES (%s)", [name])

    def _in_transactions(self, cursor: Any, names: set[str]) -> None:
        cursor.execute("BEGIN")
        self._autocommit(cursor, names)
        cursor.execute("COMMIT")

    _new_connection_each_time = _autocommit


def names(shop: Swapping, database: str) -> set[str]:
    return {name for (name,) in shop.on(database, "SELECT lower(name) FROM shop_item")}


def test_no_acknowledged_write_is_lost_while_writers_hammer(shop: Swapping) -> None:
    with Writers(shop.url) as writers:
        while len(writers.acknowledged) < 50:
            time.sleep(0.01)
        code, printed = shop.run(LOCK_RETRY_SECONDS="20")
        at_the_end = len(writers.acknowledged)
        while len(writers.acknowledged) < at_the_end + 50:  # they go on, on the new database
            time.sleep(0.01)
    assert code == 0, printed
    old = json.loads(printed.splitlines()[-1])["old"]
    new = names(shop, shop.name)
    assert writers.acknowledged <= new
    # Not even what was committed without its answer being heard.
    assert names(shop, old) <= new
    (row,) = shop.project.sql("SELECT max(id) <= nextval('shop_item_id_seq') FROM shop_item")
    assert row == (True,)


def test_readers_go_on_until_the_exchange(shop: Swapping) -> None:
    shop.migration("0006_slow", "migrations.RunSQL('SELECT pg_sleep(1)')", after="0005_vacuum")
    reader = open_connection(shop.url)
    process = shop.start()
    assert process.stdout is not None
    assert any("writers wait now" in line for line in process.stdout)
    reads, longest = 0, 0.0
    cursor = reader.cursor()
    with suppress(Exception):  # until the session is ended
        while process.poll() is None:
            began = time.monotonic()
            cursor.execute("SELECT count(*) FROM shop_item")
            assert cursor.fetchone() == (2000,)
            reads, longest = reads + 1, max(longest, time.monotonic() - began)
            time.sleep(0.01)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    assert reads > 50
    assert longest < 1


def test_a_number_that_a_sequence_gave_out_meanwhile_is_not_given_out_again(
    shop: Swapping,
) -> None:
    shop.project.sql("CREATE SEQUENCE invoice")
    shop.migration("0006_slow", "migrations.RunSQL('SELECT pg_sleep(1)')", after="0005_vacuum")
    process = shop.start()
    assert process.stdout is not None
    assert any("swap: copied" in line for line in process.stdout)
    given = shop.project.sql("SELECT nextval('invoice') FROM generate_series(1, 3)")
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    assert given == [(1,), (2,), (3,)]
    assert shop.project.sql("SELECT nextval('invoice')") == [(4,)]


def test_a_table_that_somebody_makes_meanwhile_stops_the_swap(shop: Swapping) -> None:
    shop.migration("0006_slow", "migrations.RunSQL('SELECT pg_sleep(1)')", after="0005_vacuum")
    process = shop.start()
    assert process.stdout is not None
    assert any("swap: copied" in line for line in process.stdout)
    shop.project.sql("CREATE TABLE orders AS SELECT 1 AS amount")
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 4, printed
    assert "another session changed definitions meanwhile" in printed
    assert shop.project.sql("SELECT amount FROM orders") == [(1,)]
    assert shop.databases() == []


def test_a_migration_that_fails_changes_nothing_and_leaves_nothing(each_role: Swapping) -> None:
    shop = each_role
    shop.migration("0006_broken", BROKEN, after="0005_vacuum")
    before = shop.state()
    code, printed = shop.run()
    assert code == 4, printed
    assert "shop.0006_broken: division by zero" in printed
    assert "the database is as before" in printed
    assert shop.state() == before
    assert shop.databases() == []
    shop.project.sql("INSERT INTO shop_item (name) VALUES ('later')")  # nobody waits any more


def test_a_result_that_was_not_rehearsed_changes_nothing(shop: Swapping) -> None:
    before = shop.state()
    code, printed = shop.run(shop.name, shop.name)  # "rehearsed": the schema stays as it is
    assert code == 4, printed
    assert "the schema is not the one that was rehearsed: " in printed
    assert "column shop_item.mood is there" in printed
    assert shop.state() == before
    assert shop.databases() == []


def test_an_index_that_somebody_made_since_the_rehearsal_comes_along(shop: Swapping) -> None:
    before, after = f"{shop.name}_rehearsed_0", f"{shop.name}_rehearsed_1"
    for name in (before, after):
        shop.on("postgres", f'CREATE DATABASE "{name}" TEMPLATE "{shop.name}"')
    try:
        shop.plain(after)
        shop.project.sql("CREATE INDEX since_then ON shop_item (name)")
        code, printed = shop.run(before, after)
    finally:
        for name in (before, after):
            shop.on("postgres", f'DROP DATABASE "{name}" WITH (FORCE)')
    assert code == 0, printed
    assert shop.project.sql("SELECT to_regclass('since_then') IS NOT NULL") == [(True,)]


def test_what_keeps_the_database_from_its_new_name_is_said(owner: Swapping) -> None:
    owner.migration("0006_slow", "migrations.RunSQL('SELECT pg_sleep(1)')", after="0005_vacuum")
    before = owner.state()
    process = owner.start()
    assert process.stdout is not None
    assert any("swap: copied" in line for line in process.stdout)
    name = owner.url.partition("//")[2].partition(":")[0]
    query(owner.admin, f"ALTER ROLE {name} NOCREATEDB")
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 4, printed
    assert "permission denied to rename database" in printed
    assert "others stayed connected" not in printed
    assert owner.state() == before
    assert owner.databases() == []


def test_writers_that_do_not_end_leave_it_undone(shop: Swapping) -> None:
    holder = open_connection(shop.url)
    cursor = holder.cursor()
    cursor.execute("BEGIN")
    cursor.execute("UPDATE shop_item SET name = name WHERE id = 1")
    code, printed = shop.run(LOCK_RETRY_SECONDS="0.5", LOCK_TIMEOUT_MS="100")
    assert code == 4, printed
    assert "in a transaction for" in printed
    cursor.execute("COMMIT")
    holder.close()
    assert shop.databases() == []


def test_killed_at_any_moment_it_is_undone_or_done_and_the_next_run_cleans_up(
    shop: Swapping,
) -> None:
    seed = random.randrange(1_000_000)  # noqa: S311  no secret
    print("seed", seed)  # shown if the test fails
    moments = random.Random(seed)  # noqa: S311
    before = shop.state()
    base = f"{shop.name}_base"
    shop.on("postgres", f'CREATE DATABASE "{base}" TEMPLATE "{shop.name}"')
    began = time.monotonic()
    code, printed = shop.run()
    assert code == 0, printed
    usual = time.monotonic() - began
    after = shop.state()
    try:
        for _ in range(8):
            if shop.state() != before:
                shop.on("postgres", f'DROP DATABASE "{shop.name}" WITH (FORCE)')
                shop.on("postgres", f'CREATE DATABASE "{shop.name}" TEMPLATE "{base}"')
            process = shop.start()
            with suppress(subprocess.TimeoutExpired):
                process.wait(moments.uniform(0.1, 1.0) * usual)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
            assert shop.state() in (before, after)
            shop.project.sql("INSERT INTO shop_item (name) VALUES ('later')")
            shop.project.sql("DELETE FROM shop_item WHERE name = 'later'")
            shop.project.sql("SELECT setval('shop_item_id_seq', 2000)")
    finally:
        shop.on("postgres", f'DROP DATABASE "{base}"')
    code, printed = shop.run()
    assert code == 0, printed
    assert shop.state() == after
    assert [name for name in shop.databases() if name.startswith("postdo_")] == []


@pytest.mark.parametrize(
    ("fault", "code", "done"),
    [
        ("killed with its sessions closed", -signal.SIGKILL, False),
        ("killed before the commit", -signal.SIGKILL, False),
        ("killed after the commit", -signal.SIGKILL, True),
        ("connection lost before the commit", 4, False),
        ("answer to the commit lost", 0, True),
    ],
)
def test_the_commit_alone_decides(shop: Swapping, fault: str, code: int, done: bool) -> None:
    before = shop.state()
    ended, printed = shop.run(FAULT=fault)
    assert ended == code, printed
    # The server may need a moment to see that the client is gone; a new session waits for it.
    after = shop.state()
    assert (after != before) is done
    if done:
        assert ["shop", "0005_vacuum"] in [list(row) for row in after["applied"]]
        return
    code, printed = shop.run()
    assert code == 0, printed
    assert [name for name in shop.databases() if name.startswith("postdo_")] == []


def test_what_would_block_readers_behind_the_locks_is_cancelled(shop: Swapping) -> None:
    shop.migration("0006_slow", "migrations.RunSQL('SELECT pg_sleep(1)')", after="0005_vacuum")
    process = shop.start()
    assert process.stdout is not None
    assert any("writers wait now" in line for line in process.stdout)
    with pytest.raises(Exception, match="canceling statement due to user request"):
        shop.project.sql("TRUNCATE shop_item")
    assert shop.project.sql("SELECT count(*) FROM shop_item") == [(2000,)]
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    assert "that blocked readers" in printed


def test_sigterm_while_the_copy_is_migrated_changes_nothing(shop: Swapping) -> None:
    shop.migration("0006_slow", "migrations.RunSQL('SELECT pg_sleep(30)')", after="0005_vacuum")
    before = shop.state()
    process = shop.start()
    assert process.stdout is not None
    assert any("swap: copied" in line for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=20)
    assert process.returncode == 143, printed
    assert shop.state() == before
    assert shop.databases() == []


def refused(shop: Swapping, because: str) -> None:
    before = shop.state()
    code, printed = shop.run()
    assert code == 3, printed
    assert because in printed
    assert "writers wait" not in printed
    assert shop.state() == before
    assert shop.databases() == []


def test_a_session_that_we_may_not_end_refuses_it(owner: Swapping) -> None:
    other = open_connection(owner.admin)
    refused(owner, "this user may not end its sessions")
    other.close()


def test_a_role_that_may_not_create_databases_is_refused(owner: Swapping) -> None:
    name = owner.url.partition("//")[2].partition(":")[0]
    query(owner.admin, f"ALTER ROLE {name} NOCREATEDB")
    refused(owner, "have CREATEDB")


def test_a_table_of_somebody_else_is_refused(owner: Swapping) -> None:
    query(owner.admin, "CREATE TABLE audit (id int)")
    refused(owner, "may not lock audit")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE PUBLICATION shipped FOR TABLE shop_item",
        "CREATE SUBSCRIPTION fed CONNECTION 'host=127.0.0.1 port=1' PUBLICATION x "
        "WITH (connect = false, slot_name = NONE)",
    ],
)
def test_replication_that_would_be_left_behind_is_refused(shop: Swapping, statement: str) -> None:
    shop.project.sql(statement)
    refused(shop, "would leave behind")
    shop.project.sql("DROP SUBSCRIPTION IF EXISTS fed")


def test_large_objects_that_cannot_be_protected_are_refused(owner: Swapping) -> None:
    owner.project.sql("SELECT lo_from_bytea(0, 'a picture')")
    refused(owner, "there are large objects")
