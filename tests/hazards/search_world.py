"""A database and its twin for each case of the search, and what ends a run of postdo."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from projects import Outcome, Project, copy_database, drop_database, query

from .search_changes import Case, Fault
from .site import Site

PATIENCE_SECONDS = 60.0
DONE = """
SELECT app, name FROM django_migrations ORDER BY 1, 2
"""
# Ids come from sequences, which are not rolled back; so these tables are compared by what they say.
NAMED = """
SELECT app_label, model, codename FROM django_content_type t
LEFT JOIN auth_permission p ON p.content_type_id = t.id ORDER BY 1, 2, 3
"""
OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
ENDING = """
SELECT {0}(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


@dataclass(frozen=True)
class World:
    """The site as the release finds it, and the address of its twin with the same drift."""

    site: Site
    twin: str

    def run(self, case: Case) -> Outcome:
        """``postdo migrate``, with the fault of the case; -9 if that ended it."""
        locked = _locked(self.site, case.fault) if case.fault.kind == "lock" else None
        quick = {"LOCK_RETRY_SECONDS": "2", "REHEARSE_SECONDS": "20"}
        process = self.site.start("migrate", **dict(case.policies), **quick)
        try:
            try:
                process.wait(case.fault.after if case.fault.kind else PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                if locked is not None:
                    locked.close()
                elif case.fault.kind == "kill":
                    process.kill()
                elif case.fault.kind:
                    query(self.site.project.url, ENDING.format(f"pg_{case.fault.kind}_backend"))
            text, _ = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
            if locked is not None:
                locked.close()
        self._wait_until_left()
        return Outcome(process.returncode, text, "")

    def migrate_twin(self) -> Outcome:
        """Django's own ``migrate`` on the twin."""
        twin = Project(self.site.root, self.twin)
        return twin.execute([sys.executable, "-m", "django", "migrate", "-v0"])

    def assert_equals_twin(self) -> None:
        """The schema as pg_dump writes it, the rows, the record of migrations."""
        other = Site(Project(self.site.root, self.twin))
        mine, theirs = self.site.snapshot(), other.snapshot()
        assert mine.schema == theirs.schema
        own = [name for name in theirs.tables if not name.startswith(("public.auth", "public.dj"))]
        assert {name: mine.tables.get(name) for name in own} == {
            name: theirs.tables[name] for name in own
        }
        for question in (DONE, NAMED):
            assert self.site.sql(question) == other.sql(question)

    def _wait_until_left(self) -> None:
        """Until the server has ended what a killed process had begun."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.site.sql(OTHERS) != [(0,)]:
            assert time.monotonic() < deadline, "a session of the process is still there"
            time.sleep(0.05)


@contextmanager
def world(base: Site, folder: Path, case: Case) -> Iterator[World]:
    """A copy of ``base`` with the drift of the case and its migrations, and its twin."""
    one, two = (f"search_{name}_{secrets.token_hex(4)}" for name in ("site", "twin"))
    root = folder / one
    shutil.copytree(base.root, root)
    site = Site(Project(root, _at(base, one)), dict(base.environment))
    before = "0001_initial"
    for number, step in enumerate(case.steps, start=2):
        name = f"{number:04}_step"
        header = "" if step.atomic else "atomic = False"
        site.migration(name, ", ".join(step.operations), after=before, header=header)
        before = name
    maintenance = _at(base, "postgres")
    try:
        copy_database(base.project.url, one)
        _drift(site, case.drift)
        yield World(site, copy_database(site.project.url, two))
    finally:
        for name in starting_with(maintenance, one, two):
            drop_database(_at(base, name))
        shutil.rmtree(root)


@contextmanager
def twin_of(site: Site) -> Iterator[World]:
    """A site, and a copy of its database for Django's own ``migrate``."""
    twin = copy_database(site.project.url, f"twin_{secrets.token_hex(4)}")
    try:
        yield World(site, twin)
    finally:
        drop_database(twin)


def _drift(site: Site, statements: tuple[str, ...]) -> None:
    """By hand; what the first makes impossible for the second is not done."""
    session = site.connect()
    try:
        for statement in statements:
            cursor = session.cursor()
            try:
                cursor.execute(statement)
            except Exception as error:
                if getattr(error, "sqlstate", None) or getattr(error, "pgcode", None):
                    continue
                raise
    finally:
        session.close()


class _Locked:
    def __init__(self, site: Site, mode: str) -> None:
        self._session = site.connect()
        self._session.cursor().execute(f"BEGIN; LOCK TABLE shop_item IN {mode} MODE")

    def close(self) -> None:
        self._session.close()


def _locked(site: Site, fault: Fault) -> _Locked:
    return _Locked(site, fault.lock)


def _at(base: Site, name: str) -> str:
    return urlunsplit(urlsplit(base.project.url)._replace(path=f"/{name}"))


def starting_with(maintenance: str, *names: str) -> list[str]:
    """The databases with these names, and what a swap has left beside them."""
    found = query(maintenance, "SELECT datname FROM pg_database")
    return [name for (name,) in found if name.startswith(names)]
