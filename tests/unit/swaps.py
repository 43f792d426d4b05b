"""A shop whose pending migrations need a swap, and a driver that swaps it."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forkserver
from projects import CREATE_ITEM, asking, made_once, make_shop, query

# What `postdo migrate` does in swap mode, without the command line and the plan around it.
DRIVER = """
import json, os, signal, sys
from django.db import OperationalError
from postdo.schema import catalogue
from postdo.base import config, project
from postdo.swap import rename_databases
from postdo.base.console import Console
from postdo.base.database import closing, connect, rows
from postdo.base.errors import PostdoError
from postdo.base.advisory_lock import exclusive
from postdo.base.context import Run
from postdo.copy import scratch
from postdo.copy.scratch import connect_to
from postdo.base.signals import Stopped, StopSignals
from postdo.swap.swap import swap
from postdo.rehearsal.trace import Trace

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
    close, send = rename_databases._close, rename_databases.rows
    victim = int(os.environ.get("VICTIM", 0))
    die = lambda: os.kill(os.getpid(), signal.SIGKILL)

    def closing(sessions):
        close(sessions)
        die()

    def sending(session, sql, *values):
        if victim and sql.strip().startswith("SELECT") and "WHERE pid = %s" in sql:
            values = (victim, *values[1:])  # as if it had the pid of the session that is gone
        if sql != "COMMIT":
            return send(session, sql, *values)
        if name == "killed before the commit":
            die()
        if name == "connection lost before the commit":
            session.connection.close()
        send(session, sql)
        if name == "killed after the commit":
            die()
        if name == "the driver breaks after the commit":
            raise RuntimeError("broken")
        raise OperationalError("server closed the connection unexpectedly")

    def tidying(session, database):
        raise RuntimeError("broken")

    if name == "killed with its sessions closed":
        rename_databases._close = closing
    elif name == "tidying up fails":
        scratch.drop_database = tidying
    elif name:
        rename_databases.rows = sending

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
SELECT c.relname, c.relowner::regrole::text,
       (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(c.relacl) a)
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
        if self.url == self.admin:
            made_once(self.project, "swapping", self._migrate)
        else:  # its tables belong to a role that is the test's own
            self._migrate()
        self.migration("0002_mood", ADD_MOOD, after="0001_initial")
        self.migration("0003_use", USE_MOOD, after="0002_mood")
        second = "migrations.RunPython(second_connection)"
        self.migration("0004_second", second, after="0003_use")
        self.migration("0005_vacuum", VACUUM, after="0004_second", header="atomic = False")

    def _migrate(self) -> None:
        self.plain()
        self.project.sql(
            "INSERT INTO shop_item (name) SELECT 'item ' || n FROM generate_series(1, 2000) n"
        )

    def migration(self, name: str, operations: str, *, after: str, header: str = "") -> None:
        file = self.project.migration("shop", name, operations, after=after, header=header)
        file.write_text(HEAD + file.read_text())

    def plain(self, name: str | None = None) -> None:
        url = self.url.rpartition("/")[0] + f"/{name or self.name}"
        forkserver.run(
            [sys.executable, "-c", PLAIN],
            cwd=self.project.root,
            env=self.project.variables({"DATABASE_URL": url}),
            check=True,
            timeout=60,
        )

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return forkserver.Popen(
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
        return query(self._url(name), statement)

    def _url(self, name: str) -> str:
        return self.admin.rpartition("/")[0] + f"/{name}"

    def state(self, name: str | None = None) -> dict[str, Any]:
        """Everything that has to be the same in two databases, or before and after."""
        with asking(self._url(name or self.name)) as ask:
            state: dict[str, Any] = {
                "columns": ask(COLUMNS),
                "sequences": ask(SEQUENCES),
                "objects": ask(OBJECT_FACTS),
                "enum": ask("SELECT enumlabel FROM pg_enum ORDER BY enumsortorder"),
                "applied": ask("SELECT app, name FROM django_migrations ORDER BY id"),
            }
            for (table,) in ask(TABLES):
                if table != "django_migrations":  # it has times
                    rows = f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t"  # noqa: S608
                    state[table] = ask(rows)
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


def swapping(who: str, root: Path, admin: str) -> Iterator[Swapping]:
    url = admin
    if who == "owner":
        name, url = role(admin, "CREATEDB")
        query(admin, f'ALTER DATABASE "{admin.rpartition("/")[2]}" OWNER TO {name}')
    shop = Swapping(root, admin, url)
    shop.prepare()
    yield shop
    shop.drop_old()
