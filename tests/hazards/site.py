"""A site that is alive: a project whose database has rows, and what must not change in it."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from projects import (
    Outcome,
    Project,
    copy_database,
    drop_database,
    make,
    open_connection,
    query,
)

from embedded_postgres.binaries import choose

MODELS = """
from django.db import models


class Item(models.Model):
    name = models.CharField(max_length=50)
    note = models.TextField(null=True)
    price = models.IntegerField(default=0)


class Order(models.Model):
    item = models.ForeignKey(Item, on_delete=models.CASCADE)
    quantity = models.IntegerField()
"""
KEY = (
    '("id", models.BigAutoField(primary_key=True, auto_created=True, serialize=False, '
    'verbose_name="ID"))'
)
FIRST = f"""
migrations.CreateModel("Item", [
    {KEY},
    ("name", models.CharField(max_length=50)),
    ("note", models.TextField(null=True)),
    ("price", models.IntegerField(default=0)),
]),
migrations.CreateModel("Order", [
    {KEY},
    ("item", models.ForeignKey("shop.Item", on_delete=models.CASCADE)),
    ("quantity", models.IntegerField()),
]),
"""
ROWS = """
INSERT INTO shop_item (name, note, price)
    SELECT 'item ' || n, CASE WHEN n % 4 = 0 THEN NULL ELSE 'note ' || n END, n % 50
    FROM generate_series(1, 200) n;
INSERT INTO shop_order (item_id, quantity)
    SELECT 1 + n % 200, 1 + n % 7 FROM generate_series(1, 500) n;
"""
# Every ordinary table of the site's own schemas.
TABLES = """
SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'postdo_journal') ORDER BY 1
"""
# The name of one of them, how many rows it has and a checksum of them; a full disk is no obstacle.
CHECKSUM = """
SELECT $n${0}$n$, concat(count(*), ' ', sum(hashtextextended(t::text, 0))) FROM {0} t
"""
# The catalogues of a database that the role can read, each with its first column, which says whose
# a row is; not what autovacuum keeps there. PostgreSQL 14 to 18.
CATALOGUES = """
SELECT c.relname::text, a.attname::text
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1
WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND NOT c.relisshared
      AND has_table_privilege(c.oid, 'SELECT')
      AND c.relname NOT IN ('pg_statistic', 'pg_statistic_ext_data', 'pg_largeobject')
"""
# All that depends on the journal's schema, and so does not count.
JOURNAL = """
WITH RECURSIVE journal(oid) AS (
    SELECT oid FROM pg_namespace WHERE nspname = 'postdo_journal'
    UNION SELECT d.objid FROM pg_depend d JOIN journal ON d.refobjid = journal.oid
)
"""
# The rows of one that a site has made.
CATALOGUE = """
SELECT '{0} ' || {2} FROM {0} t
WHERE t.{1}::oid NOT IN (SELECT oid FROM journal) AND {3}
"""
MADE_BY_US = "t.{0}::oid >= 16384"  # the first number that no object of PostgreSQL's own has
MADE_BY_SESSIONS = "t.nspname !~ '^pg_(toast_)?temp_'"  # and they stay
KEPT_BY_VACUUM = (
    "(to_jsonb(t) - ARRAY['relpages', 'reltuples', 'relallvisible', 'relallfrozen',"
    " 'relfrozenxid', 'relminmxid'])::text"
)
# Lines of a dump that are different each time, and say nothing of the schema.
UNSTEADY = re.compile(r"^(\\(un)?restrict |-- Dumped|-- Started|-- Completed)")


@dataclass(frozen=True)
class Snapshot:
    """All that has to be the same again: the schema, as text, and a checksum per table."""

    schema: str
    tables: Mapping[str, str]


@dataclass(frozen=True)
class Site:
    """A project with the app ``shop``, its database, and what its environment says."""

    project: Project
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.project.root

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement on the database, as the site's own role."""
        return self.project.sql(statement)

    def connect(self) -> Any:
        """A session of the application's, in autocommit."""
        return open_connection(self.project.url)

    def migration(
        self, name: str, operations: str, *, after: str = "0001_initial", header: str = ""
    ) -> Path:
        """A further migration of ``shop``."""
        return self.project.migration("shop", name, operations, after=after, header=header)

    def run(self, *arguments: str, **environment: str) -> Outcome:
        """``postdo ARGUMENTS`` as production has it, with MAKEMIGRATIONS=off unless told."""
        values = {"MAKEMIGRATIONS": "off", **self.environment, **environment}
        return self.project.run(*arguments, environment=values)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """The same, left running."""
        values = {"MAKEMIGRATIONS": "off", **self.environment, **environment}
        return self.project.start(*arguments, environment=values)

    def plan(self, **environment: str) -> dict[str, Any]:
        """The documented form of a plan."""
        result = self.run("plan", "--json", **environment).report["result"]
        assert isinstance(result, dict)
        return result

    def recorded(self) -> list[str]:
        """The recorded migrations of ``shop``, in the order in which they were applied."""
        found = self.sql("SELECT name FROM django_migrations WHERE app = 'shop' ORDER BY id")
        return [name for (name,) in found]

    def snapshot(self) -> Snapshot:
        """What there is now, with the schema as pg_dump writes it."""
        return Snapshot(self._schema(), self._checksums())

    def untouched(self) -> Snapshot:
        """What is the same only as long as nothing is made, changed or dropped.

        Of the catalogues every row, where a snapshot has a dump: stricter, since what is dropped
        and made again is another object, and a quarter of the time.
        """
        statements = []
        for name, first in self.sql(CATALOGUES):
            which = MADE_BY_SESSIONS if name == "pg_namespace" else MADE_BY_US.format(first)
            text = KEPT_BY_VACUUM if name == "pg_class" else "t::text"
            statements.append(CATALOGUE.format(name, first, text, which))
        found = self.sql(JOURNAL + " UNION ALL ".join(statements))
        return Snapshot("\n".join(sorted(str(row) for (row,) in found)), self._checksums())

    def scratch_databases(self) -> list[str]:
        """Copies that are left on the server."""
        return self.project.copies()

    # --- The three ends -----------------------------------------------------------------------

    def ends_done(self, *arguments: str, **environment: str) -> Outcome:
        """Migrate, and assert that it is done: everything recorded, no copy left."""
        outcome = self.run(*(arguments or ("migrate",)), **environment)
        assert outcome.code == 0, outcome.out + outcome.err
        assert self.run("migrate").out.count("nothing to migrate") == 1
        assert self.scratch_databases() == []
        return outcome

    def ends_refused(self, *words: str, **environment: str) -> Outcome:
        """Migrate, and assert that it is refused with these words and nothing was touched."""
        return self._ends(3, "refused", words, environment)

    def ends_undone(self, *words: str, **environment: str) -> Outcome:
        """Migrate, and assert that it is undone with these words: everything is as before."""
        return self._ends(4, "failed and undone", words, environment)

    def _ends(
        self, code: int, outcome: str, words: tuple[str, ...], environment: Mapping[str, str]
    ) -> Outcome:
        before = self.untouched()
        ended = self.run("migrate", **environment)
        text = ended.out + ended.err
        assert ended.code == code, text
        assert f"postdo: {outcome}: " in ended.err, text
        assert "postdo: next: " in ended.err, text
        for word in words:
            assert word in text, f"it does not say {word!r}:\n{text}"
        assert "Traceback" not in ended.err
        assert self.untouched() == before
        assert self.scratch_databases() == []
        return ended

    def _checksums(self) -> dict[str, str]:
        names = [str(name) for (name,) in self.sql(TABLES)]
        return dict(self.sql(" UNION ALL ".join(map(CHECKSUM.format, names)))) if names else {}

    def _schema(self) -> str:
        dump = choose().program("pg_dump")
        done = subprocess.run(
            [dump, "--schema-only", "--exclude-schema=postdo_journal", self.project.url],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "LC_ALL": "C"},
        )
        return "\n".join(line for line in done.stdout.splitlines() if not UNSTEADY.match(line))


def make_site(
    root: Path,
    url: str,
    *,
    apps: tuple[str, ...] = ("shop",),
    settings: str = "",
    python: tuple[str, ...] = (sys.executable,),
) -> Site:
    """A site that ``postdo`` has migrated to its first release, with rows."""
    project = replace(make(root, url, apps=apps, settings=settings), python=python)
    project.write("shop/models.py", MODELS)
    project.migration("shop", "0001_initial", FIRST)
    site = Site(project, {"APP_VERSION": "release-1"})
    done = site.run("migrate")
    assert done.code == 0, done.out + done.err
    query(url, ROWS)
    site.environment["APP_VERSION"] = "release-2"
    return site


def site_like(first: Site, root: Path, create: str = "") -> Site:
    """A site of its own like ``first``, whose files and database are copied.

    Much faster than to make it anew. Nobody may be connected to the first one. ``create``: further
    words of CREATE DATABASE. Who makes it drops it, or the whole server.
    """
    shutil.copytree(first.root, root, dirs_exist_ok=True)
    url = copy_database(first.project.url, f"site_{secrets.token_hex(6)}", create)
    return Site(replace(first.project, root=root, url=url), dict(first.environment))


def drop(site: Site) -> None:
    """Remove the site's database, even if sessions are still open."""
    drop_database(site.project.url)
