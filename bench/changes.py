"""A Django project with many applied migrations, and the ways to apply what is pending on it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bench.process import BenchError, run

CLONE = Path(__file__).resolve().parent.parent
VENV_PYTHON = CLONE / ".postdo" / "test-venv" / "bin" / "python"
APPLIED = 300
TO_A_MODEL = 10  # migrations: one creates it, the others add a column each
MODELS = APPLIED // TO_A_MODEL  # what is pending changes these: all of it locks a table
ROW_BYTES = 1_000
SAMPLE_SECONDS = 0.005
MD5_BYTES = 32
SETTINGS = """
import os
from urllib.parse import unquote, urlsplit
url = urlsplit(os.environ["DATABASE_URL"])
DATABASES = {"default": {
    "ENGINE": "django.db.backends.postgresql", "HOST": url.hostname, "PORT": url.port,
    "NAME": url.path[1:], "USER": unquote(url.username), "PASSWORD": unquote(url.password)}}
SECRET_KEY = "for a measurement only"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "many"]
"""
MIGRATION = """
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [{after}]
    operations = [{operation}]
"""
KEY = '("id", models.BigAutoField(primary_key=True)), ("text", models.TextField(null=True))'
ROWS = """
INSERT INTO many_m0 (text)
SELECT (SELECT string_agg(md5(n::text || i::text), '') FROM generate_series(1, {0}) i)
FROM generate_series(1, {1}) n
"""
# Locks on tables that keep writers out, of sessions that are not ours.
LOCKS = """
SELECT relation::regclass::text FROM pg_locks JOIN pg_class c ON c.oid = relation
WHERE granted AND relkind = 'r' AND pid <> pg_backend_pid()
AND relnamespace = 'public'::regnamespace
AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@dataclass(frozen=True)
class Site:
    """The project in ``root``; ``url``: of a database of it; ``programs``: PostgreSQL's."""

    root: Path
    url: str
    programs: Path

    def python(self, *words: str, **environment: str) -> float:
        """Run Python on the project; the seconds that it took. Raises ``BenchError``."""
        began = time.monotonic()
        run([sys.executable, *words], folder=self.root, environment=self.variables(environment))
        return time.monotonic() - began

    def variables(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of production."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{self.root}{os.pathsep}{CLONE}",
            "DJANGO_SETTINGS_MODULE": "settings",
            "DATABASE_URL": self.url,
            "MAKEMIGRATIONS": "off",
            "POSTDO_PG_BIN": str(self.programs),
            **{f"ON_{what}": "allow" for what in ("DOWNTIME", "INCOMPATIBLE")},
            **(more or {}),
        }

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement on the database."""
        with connected(self.url) as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def at(self, name: str) -> Site:
        """The same project on another database of the server."""
        return Site(self.root, f"{self.url.rsplit('/', 1)[0]}/{name}", self.programs)

    @property
    def name(self) -> str:
        """The name of the database."""
        return self.url.rsplit("/", 1)[1]

    @contextmanager
    def copied(self) -> Iterator[Site]:
        """The same, on a copy of the database, and neither cold nor dirty."""
        maintenance = self.at("postgres")
        copy = self.at(f"bench_{secrets.token_hex(4)}")
        maintenance.sql(f"CREATE DATABASE {copy.name} TEMPLATE {self.name}")
        maintenance.sql("CHECKPOINT")
        try:
            yield copy
        finally:
            maintenance.sql(f"DROP DATABASE {copy.name} WITH (FORCE)")

    def copy_by_postdo(self) -> float:
        """Seconds of the copy alone, as a rehearsal reports them."""
        words = [sys.executable, "-m", "postdo", "rehearse", "--json"]
        report = json.loads(run(words, folder=self.root, environment=self.variables()))
        return float(report["result"]["copy_seconds"])

    def copy_alone(self) -> float:
        """Seconds of ``pg_dump | pg_restore`` into a new database, without anything of ours."""
        maintenance = self.at("postgres")
        new = self.at(f"bench_{secrets.token_hex(4)}")
        maintenance.sql(f"CREATE DATABASE {new.name} TEMPLATE template0")
        try:
            return self._dump_and_restore(new)
        finally:
            maintenance.sql(f"DROP DATABASE {new.name} WITH (FORCE)")

    def base_backup(self) -> float:
        """Seconds of a base backup of the whole server, without anything of ours."""
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            words = [str(self.programs / "pg_basebackup"), "-d", self.url, "-D", f"{folder}/copy"]
            began = time.monotonic()
            run([*words, "--checkpoint=fast", "--no-sync"], folder=self.root)
            return time.monotonic() - began

    def _dump_and_restore(self, new: Site) -> float:
        began = time.monotonic()
        dump = [str(self.programs / "pg_dump"), "-Fc", "-Z0", self.url]
        with subprocess.Popen(dump, stdout=subprocess.PIPE) as source:
            restore = [str(self.programs / "pg_restore"), "-d", new.url]
            done = subprocess.run(restore, stdin=source.stdout, check=False)
        if source.returncode or done.returncode:
            raise BenchError("pg_dump | pg_restore failed", "read what they said above")
        return time.monotonic() - began


def make(root: Path, url: str, programs: Path, megabytes: int) -> Site:
    """The project with ``APPLIED`` migrations, applied by postdo, and rows."""
    site = Site(root, url, programs)
    (root / "many" / "migrations").mkdir(parents=True)
    (root / "settings.py").write_text(SETTINGS)
    for file in ("many/__init__.py", "many/models.py", "many/migrations/__init__.py"):
        (root / file).write_text("")
    pend(site, 1, APPLIED)
    site.python("-m", "postdo", "migrate")
    count = megabytes * 1_000_000 // ROW_BYTES
    # Not compressible, so that the size is what it says.
    site.sql(ROWS.format(ROW_BYTES // MD5_BYTES, count))
    site.sql("VACUUM ANALYZE")
    return site


def pend(site: Site, first: int, count: int) -> None:
    """Write this many more migrations; those that are not applied yet and later are removed."""
    folder = site.root / "many" / "migrations"
    for path in folder.glob("[0-9]*.py"):
        if int(path.stem[:4]) >= first:
            path.unlink()
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    for number in range(first, first + count):
        model = f"M{(number - 1) // TO_A_MODEL % MODELS}"
        if (number - 1) % TO_A_MODEL == 0 and number <= APPLIED:
            operation = f'migrations.CreateModel("{model}", [{KEY}])'
        else:
            column = f'"c{number}", models.IntegerField(null=True)'
            operation = f'migrations.AddField("{model}", {column})'
        after = f'("many", "{number - 1:04}_step")' if number > 1 else ""
        text = MIGRATION.format(after=after, operation=operation)
        (folder / f"{number:04}_step.py").write_text(text)


def drop_text(site: Site, number: int) -> None:
    """Write the migration of this number: it drops the one column that has values."""
    text = MIGRATION.format(
        after=f'("many", "{number - 1:04}_step")', operation='migrations.RemoveField("M0", "text")'
    )
    (site.root / "many" / "migrations" / f"{number:04}_step.py").write_text(text)


def use_test_environment(command: str, arguments: Sequence[str], needs: str = "django") -> None:
    """Become the same command with the Python of `sh run.sh test`, if this one has no `needs`.

    Ends the process if that has none either.
    """
    if find_spec(needs) is not None:
        return
    if not VENV_PYTHON.exists() or Path(sys.executable) == VENV_PYTHON:
        print(f"error: {needs} is not installed\n  next: sh run.sh test", file=sys.stderr)
        raise SystemExit(1)
    words = [str(VENV_PYTHON), "-m", "bench", command, *arguments]
    os.execv(VENV_PYTHON, words)  # noqa: S606  our own


@contextmanager
def watched(site: Site) -> Iterator[dict[str, float]]:
    """Samples how long tables are kept from writers: table to seconds, when the block has ended."""
    held: dict[str, float] = {}
    over = threading.Event()

    def sample() -> None:
        with connected(site.url) as cursor:
            last = time.monotonic()
            while not over.wait(SAMPLE_SECONDS):
                cursor.execute(LOCKS)
                now = time.monotonic()
                for (table,) in set(cursor.fetchall()):
                    held[table] = held.get(table, 0.0) + now - last
                last = now

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield held
    finally:
        over.set()
        thread.join()


@contextmanager
def connected(url: str) -> Iterator[Any]:
    """A cursor in autocommit."""
    import psycopg2  # noqa: PLC0415  only this comparison needs a driver

    parts = urlsplit(url)
    session = psycopg2.connect(
        host=parts.hostname,
        port=parts.port,
        dbname=parts.path[1:],
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )
    session.autocommit = True
    try:
        yield session.cursor()
    finally:
        session.close()
