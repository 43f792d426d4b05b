"""A site that is alive: a project whose database has rows, and what must not change in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from projects import Outcome, Project, make, open_connection, query

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
# Lines of a dump that are different each time, and say nothing of the schema.
UNSTEADY = re.compile(r"^(\\(un)?restrict |-- Dumped|-- Started|-- Completed)")


@dataclass(frozen=True)
class Snapshot:
    """All that has to be the same again: the schema as pg_dump writes it, a checksum per table."""

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
        """What there is now."""
        names = [str(name) for (name,) in self.sql(TABLES)]
        checksums = " UNION ALL ".join(CHECKSUM.format(name) for name in names)
        tables = dict(self.sql(checksums)) if names else {}
        return Snapshot(self._schema(), tables)

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
        before = self.snapshot()
        ended = self.run("migrate", **environment)
        text = ended.out + ended.err
        assert ended.code == code, text
        assert f"postdo: {outcome}: " in ended.err, text
        assert "postdo: next: " in ended.err, text
        for word in words:
            assert word in text, f"it does not say {word!r}:\n{text}"
        assert "Traceback" not in ended.err
        assert self.snapshot() == before
        assert self.scratch_databases() == []
        return ended

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


def site_like(first: Site, root: Path, url: str, create: str = "") -> Site:
    """A site of its own like ``first``, whose files and database are copied; ``url`` is replaced.

    Much faster than to make it anew. Nobody may be connected to the first one. ``create``: further
    words of CREATE DATABASE.
    """
    shutil.copytree(first.root, root, dirs_exist_ok=True)
    name, other = (urlsplit(one).path[1:] for one in (url, first.project.url))
    maintenance = urlunsplit(urlsplit(url)._replace(path="/postgres"))
    query(maintenance, f"DROP DATABASE {name}")
    query(maintenance, f"CREATE DATABASE {name} TEMPLATE {other} {create}")
    return Site(replace(first.project, root=root, url=url), dict(first.environment))
