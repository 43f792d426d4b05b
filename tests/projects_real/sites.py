"""Public projects with long histories, and what has to be equal after their migrations."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from projects import (
    DATABASE_SETTINGS,
    REPOSITORY,
    Outcome,
    copy_database,
    drop_database,
    query,
    search_path,
)

from embedded_postgres.binaries import choose

TIMEOUT_SECONDS = 600

# What every project of this folder has, before its own lines.
SETTINGS = (
    DATABASE_SETTINGS
    + """
import django

SECRET_KEY = "for tests only"
SITE_ID = 1
# Django before 3.1 cannot read times with a zone through a new psycopg2.
USE_TZ = django.VERSION >= (3, 1)
STATIC_URL = "/static/"
MEDIA_ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "media")
ROOT_URLCONF = "urls"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.sites",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
"""
)
FILL = """
import django

django.setup()
"""
# The name of every ordinary table, and of its columns.
COLUMNS = """
SELECT format('%I.%I', n.nspname, c.relname), array_agg(a.attname ORDER BY a.attname)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND n.nspname = 'public' GROUP BY 1 ORDER BY 1
"""
# When a row was written differs between two runs, whoever migrates.
TIMES = {"public.django_migrations": ("id", "applied")}
# Lines of a dump that are different each time, and say nothing of the schema.
UNSTEADY = re.compile(r"^(\\(un)?restrict |-- Dumped|-- Started|-- Completed)")


@dataclass(frozen=True)
class Real:
    """A public project.

    ``settings``: added to what all have; with ``NEW``, whether it is the newer release.
    ``files``: of the project's own, by path. ``fill``: makes rows through the old release's models.
    ``policies``: what its own history makes an owner approve, each with the reason.
    ``by_chance``: columns whose values no two runs share, by table. ``least_pending``: how many
    migrations the upgrade has at least.
    """

    name: str
    settings: str
    fill: str
    least_pending: int
    files: Mapping[str, str] = field(default_factory=dict)
    policies: Mapping[str, str] = field(default_factory=dict)
    by_chance: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Database:
    """What two ways of migrating have to agree on."""

    schema: str
    tables: Mapping[str, str]

    def differs_from(self, other: Database) -> list[str]:
        """The tables whose rows are not the same, or that only one of them has."""
        return sorted(
            name
            for name in self.tables.keys() | other.tables.keys()
            if self.tables.get(name) != other.tables.get(name)
        )


@dataclass(frozen=True)
class Installed:
    """A release of a project in its environment, on the database ``url``."""

    real: Real
    python: Path
    root: Path
    url: str

    def postdo(self, *arguments: str, **environment: str) -> Outcome:
        """``postdo ARGUMENTS`` as production has it."""
        return self._run("-m", "postdo", *arguments, **environment)

    def plain(self) -> None:
        """Django's own ``migrate``."""
        self._succeed("-m", "django", "migrate", "--no-input", "--verbosity=0")

    def fill(self) -> None:
        """Make the rows."""
        (self.root / "fill.py").write_text(FILL + self.real.fill)
        self._succeed("fill.py")

    def database(self) -> Database:
        """What there is now."""
        return Database(_schema(self.url), dict(self._checksums()))

    def rows(self) -> int:
        """How many rows the project has, beside Django's own."""
        names = [name for name, _ in query(self.url, COLUMNS) if ".django_" not in name]
        return sum(int(query(self.url, f"SELECT count(*) FROM {name}")[0][0]) for name in names)  # noqa: S608

    def _checksums(self) -> Iterator[tuple[str, str]]:
        leave = {**TIMES, **self.real.by_chance}
        for table, columns in query(self.url, COLUMNS):
            kept = [f'"{one}"' for one in columns if one not in leave.get(table, ())]
            row = f"ROW({', '.join(kept)})::text"
            statement = f"SELECT md5(string_agg({row}, '|' ORDER BY {row})) FROM {table}"  # noqa: S608
            ((checksum,),) = query(self.url, statement)
            yield table, f"{','.join(columns)} {checksum}"

    def _succeed(self, *arguments: str) -> None:
        outcome = self._run(*arguments)
        assert outcome.code == 0, outcome.out + outcome.err

    def _run(self, *arguments: str, **environment: str) -> Outcome:
        done = subprocess.run(
            [str(self.python), "-W", "ignore", *arguments],
            cwd=self.root,
            env={
                "PATH": search_path(),
                "PYTHONPATH": f"{self.root}{os.pathsep}{REPOSITORY}",
                "DJANGO_SETTINGS_MODULE": "settings",
                "DATABASE_URL": self.url,
                "DB_WAIT_SECONDS": "20",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)


def install(real: Real, python: Path, root: Path, url: str, *, new: bool) -> Installed:
    """Write the project's few files for one release."""
    root.mkdir(parents=True, exist_ok=True)
    files = {
        "settings.py": f"{SETTINGS}\nNEW = {new}\n{real.settings}",
        "urls.py": "urlpatterns = []\n",
        **real.files,
    }
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return Installed(real, python, root, url)


@contextmanager
def copy_of(url: str, name: str) -> Iterator[str]:
    """A second database with the same contents."""
    copy = copy_database(url, name)
    try:
        yield copy
    finally:
        drop_database(copy)


def _schema(url: str) -> str:
    done = subprocess.run(
        [choose().program("pg_dump"), "--schema-only", "--exclude-schema=postdo_journal", url],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    return "\n".join(line for line in done.stdout.splitlines() if not UNSTEADY.match(line))
