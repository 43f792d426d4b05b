"""Small real Django projects, made in a temporary folder, and `postdo` run on them."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import forkserver
import pytest

from embedded_postgres.binaries import choose

REPOSITORY = Path(__file__).resolve().parents[1]
TIMEOUT_SECONDS = 60
FILE_COPY_SINCE = 150000  # STRATEGY of CREATE DATABASE

# Copies of this database; other tests leave some of theirs behind on purpose.
SCRATCH = """
SELECT datname FROM pg_database
WHERE starts_with(datname, 'postdo_scratch_' || left(
    encode(sha256(convert_to(current_database(), 'UTF8')), 'hex'), 8))
"""
# For a table `numbers`, which gets old: a transaction number for each round, without a round trip.
GROW_OLD = """
DO $$ BEGIN
    FOR n IN 1..101000 LOOP
        BEGIN
            PERFORM pg_current_xact_id();
            INSERT INTO numbers VALUES (n);
        EXCEPTION WHEN unique_violation THEN
        END;
    END LOOP;
END $$
"""
# Migrations run as Django runs them: no plan, no rehearsal.
DEVELOPMENT = {"POSTDO_MODE": "development", "MAKEMIGRATIONS": "check"}

# Where DATABASE_URL says; the begin of every project's settings.
DATABASE_SETTINGS = """
import os
from urllib.parse import unquote, urlsplit

url = urlsplit(os.environ.get("DATABASE_URL", "postgres://nobody:x@127.0.0.1:1/none"))
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": url.hostname,
        "PORT": url.port,
        "NAME": url.path[1:],
        "USER": unquote(url.username),
        "PASSWORD": unquote(url.password),
    }
}
"""
SETTINGS = (
    DATABASE_SETTINGS
    + """
SECRET_KEY = "for tests only"
DEBUG = os.environ.get("DEBUG") == "on"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", {apps}]
{more}
"""
)

MIGRATION = """
from django.db import migrations, models


class Migration(migrations.Migration):
    {header}
    dependencies = {dependencies}
    operations = [{operations}]
"""

ITEM = """
from django.db import models


class Item(models.Model):
    name = models.CharField(max_length=50)
"""

CREATE_ITEM = """
migrations.CreateModel("Item", [
    ("id", models.BigAutoField(primary_key=True, auto_created=True, serialize=False,
                               verbose_name="ID")),
    ("name", models.CharField(max_length=50)),
])
"""


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """The JSON object of `--json`."""
        loaded = json.loads(self.out)
        assert isinstance(loaded, dict)
        return loaded


@dataclass(frozen=True)
class Project:
    """A project in `root` on the database `url`; `environment` goes to each command.

    `python` is the beginning of a command line that runs a Python, of the tests if not told.
    """

    root: Path
    url: str
    environment: Mapping[str, str] = field(default_factory=dict)
    python: tuple[str, ...] = (sys.executable,)

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def migration(
        self,
        app: str,
        name: str,
        operations: str,
        *,
        after: str | None = None,
        header: str = "",
    ) -> Path:
        dependencies = [(app, after)] if after else []
        return self.write(
            f"{app}/migrations/{name}.py",
            MIGRATION.format(header=header, dependencies=dependencies, operations=operations),
        )

    def run(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        before: tuple[str, ...] = (),
        flags: tuple[str, ...] = (),
    ) -> Outcome:
        """`python -m postdo ARGUMENTS`, to its end; `before` runs it, `flags` go to Python."""
        words = [*before, *self.python, *flags, "-m", "postdo", *arguments]
        return self.execute(words, environment)

    def execute(
        self, words: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Outcome:
        """Run a program in the project's folder, to its end."""
        done = forkserver.run(
            words,
            cwd=self.root,
            env=self.variables(environment),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def start(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """`python -m postdo ARGUMENTS`, left running; both outputs in its `stdout`."""
        return forkserver.Popen(
            [*self.python, "-m", "postdo", *arguments],
            cwd=self.root,
            env=self.variables(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def variables(self, environment: Mapping[str, str] | None = None) -> dict[str, str]:
        """The whole environment of a command: nothing of the tests' own leaks in."""
        return {
            "PATH": search_path(),
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONDONTWRITEBYTECODE": "1",  # two writes within a second look alike to a .pyc
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": self.url,
            "DB_WAIT_SECONDS": "20",
            **self.environment,
            **(environment or {}),
        }

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement on the project's database."""
        return query(self.url, statement)

    def copies(self) -> list[str]:
        """The scratch databases of this database that are on the server."""
        return [name for (name,) in self.sql(SCRATCH)]


def search_path() -> str:
    """The PATH of a project's commands: ours, and last the programs of the tests' PostgreSQL."""
    return f"{os.environ['PATH']}{os.pathsep}{choose().folder}"


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement, committed at once; the rows that it returns."""
    with asking(url) as ask:
        return ask(statement)


@contextmanager
def asking(url: str) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
    """`query` for many statements on one connection, of which each costs 0.02 s of CPU."""
    connection = open_connection(url)
    cursor = connection.cursor()

    def ask(statement: str) -> list[tuple[Any, ...]]:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []

    try:
        yield ask
    finally:
        connection.close()


def need_extensions(url: str, *names: str) -> None:
    """Skip the test where this PostgreSQL lacks one of these extensions, as a wheel does."""
    found = {name for (name,) in query(url, "SELECT name FROM pg_available_extensions")}
    missing = sorted(set(names) - found)
    if missing:
        pytest.skip(f"this PostgreSQL has no {', '.join(missing)}")


def need_icu(url: str) -> None:
    """Skip the test where this PostgreSQL was built without ICU, as a wheel's is."""
    try:
        query(url, "CREATE COLLATION needed (provider = icu, locale = 'de'); DROP COLLATION needed")
    except Exception as error:
        if "ICU is not supported" not in str(error):
            raise
        pytest.skip("this PostgreSQL has no ICU")


def made_once(project: Project, name: str, make: Callable[[], object]) -> None:
    """Have in the project's database, which is empty, what `make` puts there.

    It is called once for each server; after that the database is a copy of the one called `name`.
    So what it does may depend on nothing that differs between the tests with this name.
    """
    server, _, own = project.url.rpartition("/")
    template = f"made_once_{name}"
    with asking(f"{server}/postgres") as ask:
        if (template,) in ask("SELECT datname FROM pg_database"):
            ask(f"DROP DATABASE {own}")
            ask(f"CREATE DATABASE {own} TEMPLATE {template}")
            return
        make()
        ask(f"CREATE DATABASE {template} TEMPLATE {own}")


def copy_database(url: str, name: str, create: str = "") -> str:
    """The URL of a new database with the contents of this one, to which nobody is connected.

    `create`: further words of CREATE DATABASE. Its files are copied as they are: by way of the WAL,
    as it is usual since PostgreSQL 15, it takes twice the time.
    """
    parts = urlsplit(url)
    maintenance = urlunsplit(parts._replace(path="/postgres"))
    ((version,),) = query(maintenance, "SHOW server_version_num")
    if int(version) >= FILE_COPY_SINCE:
        create += " STRATEGY FILE_COPY"
    query(maintenance, f'CREATE DATABASE "{name}" TEMPLATE "{parts.path[1:]}" {create}')
    return urlunsplit(parts._replace(path=f"/{name}"))


def drop_database(url: str) -> None:
    """Remove a database, even if sessions are still open."""
    parts = urlsplit(url)
    query(
        urlunsplit(parts._replace(path="/postgres")),
        f'DROP DATABASE IF EXISTS "{parts.path[1:]}" WITH (FORCE)',
    )


def open_connection(url: str) -> Any:
    """A connection in autocommit, by whichever driver is installed."""
    driver: Any = importlib.import_module("psycopg2" if find_spec("psycopg2") else "psycopg")
    connection = driver.connect(url)
    connection.autocommit = True
    return connection


def make(
    root: Path,
    url: str,
    *,
    apps: tuple[str, ...] = (),
    settings: str = "",
    environment: Mapping[str, str] | None = None,
) -> Project:
    """A project with these further apps (each an empty package with a package of migrations)."""
    project = Project(root, url, dict(environment or {}))
    project.write("config/__init__.py", "")
    listed = ", ".join(repr(app) for app in apps)
    project.write(
        "config/settings.py", SETTINGS.replace("{apps}", listed).replace("{more}", settings)
    )
    for app in apps:
        if "." not in app:
            project.write(f"{app}/__init__.py", "")
            project.write(f"{app}/migrations/__init__.py", "")
    return project


def make_shop(
    root: Path, url: str, *, settings: str = "", environment: Mapping[str, str] | None = None
) -> Project:
    """A project with one app, `shop`, with one model and its first migration."""
    project = make(root, url, apps=("shop",), settings=settings, environment=environment)
    project.write("shop/models.py", ITEM)
    project.migration("shop", "0001_initial", CREATE_ITEM)
    return project
