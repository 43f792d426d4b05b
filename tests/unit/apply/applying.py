"""What the tests of `one_transaction` share: databases with rows, the driver, and what stays."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import forkserver
from projects import TIMEOUT_SECONDS, Outcome, Project, asking, make_shop, query

from embedded_postgres import Cluster

DRIVER = str(Path(__file__).parent / "driver.py")
ADD_STOCK = 'migrations.AddField("Item", "stock", models.IntegerField(default=0))'
FILL_STOCK = "migrations.RunSQL('UPDATE shop_item SET stock = 7')"
ADD_ORDER = """
migrations.CreateModel("Order", [
    ("id", models.BigAutoField(primary_key=True, serialize=False)),
    ("item", models.ForeignKey("shop.Item", models.CASCADE)),
]),
migrations.RunSQL("INSERT INTO shop_order (item_id) SELECT id FROM shop_item ORDER BY id")
"""
BROKEN = "migrations.RunSQL('ALTER TABLE shop_item ADD COLUMN name text')"  # it has one already
UNIQUE = 'migrations.AlterField("Item", "name", models.CharField(max_length=50, unique=True))'
UNDONE = 4
INSERT_ROWS = "INSERT INTO shop_item (name) SELECT 'item ' || n FROM generate_series(1, 400) n"

# Everything in the schemas that a project can have: relations, columns, constraints, indexes,
# triggers, functions, types, comments. Nothing that PostgreSQL may number anew.
SCHEMA = """
SELECT 'relation', c.oid::regclass::text, c.relkind::text || coalesce(c.reloptions::text, '')
       || coalesce(pg_get_viewdef(c.oid), '') || coalesce(obj_description(c.oid, 'pg_class'), '')
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'column', a.attrelid::regclass::text,
       concat_ws(' ', a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                 a.attidentity, pg_get_expr(d.adbin, d.adrelid))
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'constraint', conname, conrelid::regclass::text || pg_get_constraintdef(oid) || convalidated
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'index', i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) || i.indisvalid
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'function', proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL
SELECT 'type', typname, typtype::text FROM pg_type
WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')
"""
TABLES = """
SELECT c.oid::regclass::text FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
"""


def contents(url: str) -> dict[str, Any]:
    """The schema, and per table the number of rows and their checksum."""
    with asking(url) as ask:
        found: dict[str, Any] = {"schema": sorted(ask(SCHEMA))}
        for (table,) in ask(TABLES):
            # A table's name from the catalogue, quoted by the server.
            rows = f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t"  # noqa: S608
            found[table] = ask(rows)
    return found


def recorded(url: str) -> list[str]:
    """The names of the shop's migrations that are recorded, in order."""
    found = query(url, "SELECT name FROM django_migrations WHERE app = 'shop' ORDER BY id")
    return [name for (name,) in found]


def drive(project: Project, environment: dict[str, str] | None = None, **orders: Any) -> Outcome:
    """Apply what is pending; both outputs are in `out`."""
    done = forkserver.run(
        [sys.executable, DRIVER],
        cwd=project.root,
        env=variables(project, environment, orders),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, "")


def start(
    project: Project, environment: dict[str, str] | None = None, **orders: Any
) -> subprocess.Popen[str]:
    """The same, left running; its standard input is open."""
    return forkserver.Popen(
        [sys.executable, DRIVER],
        cwd=project.root,
        env=variables(project, environment, orders),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@dataclass
class Server:
    """The driver as a server: a fresh process with Django set up for each run."""

    process: subprocess.Popen[str]
    pid: int = 0

    def begin(self, port: int, name: str, **environment: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{port} {name} {json.dumps(environment)}\n")
        self.process.stdin.flush()
        self.pid = int(self.process.stdout.readline())

    def end(self) -> tuple[int, str]:
        """The exit code (negative for a signal) and what it printed."""
        assert self.process.stdout is not None
        code, printed = json.loads(self.process.stdout.readline())
        return code, printed

    def run(self, port: int, name: str, **environment: str) -> tuple[int, str]:
        self.begin(port, name, **environment)
        return self.end()


def variables(
    project: Project, environment: dict[str, str] | None, orders: dict[str, Any]
) -> dict[str, str]:
    # Without encryption, so that a test's proxy can read along.
    plain = {"PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}
    return project.variables({"DRIVE": json.dumps(orders), **plain, **(environment or {})})


def make_base(root: Path, url: str) -> None:
    """A shop in production: its first migration is applied, and it has rows."""
    project = make_shop(root, url)
    outcome = drive(project)
    assert outcome.code == 0, outcome.out
    query(url, INSERT_ROWS)


@contextmanager
def copied(cluster: Cluster, template: str) -> Iterator[str]:
    """The URL of a copy of the database `template`, to which nobody may be connected."""
    name, server = f"copy_{secrets.token_hex(6)}", cluster.url("postgres")
    query(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield cluster.url(name)
    finally:
        query(server, f"DROP DATABASE {name} WITH (FORCE)")


def name_of(url: str) -> str:
    """The database in a URL."""
    return urlsplit(url).path[1:]


def add(shop: Project, *operations: str, header: str = "") -> None:
    """Further migrations of the shop, `0002_step` and so on; `header` is for the last one."""
    before = "0001_initial"
    for number, text in enumerate(operations, start=2):
        name = f"{number:04d}_step"
        last = number == len(operations) + 1
        shop.migration("shop", name, text, after=before, header=header if last else "")
        before = name


def function(body: str) -> str:
    """The operation that calls a function with this body; `connection` is Django's."""
    code = f"def act(apps, editor):\n    connection = editor.connection\n    {body}\n"
    return f"migrations.RunPython((exec({code!r}, space := {{}}), space['act'])[1])"
