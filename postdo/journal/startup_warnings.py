"""Warn at a start of what bypassed postdo, even if nothing is pending.

That is a migration that is recorded but was not applied by postdo (``--fake``, by hand, by
``manage.py``), and a file of the project that was edited after it was applied (HAZARDS 7). A start
with nothing pending has to be quick, so only names and checksums are read, and the rest of the
journal is imported only if one of them differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.context import Run
from postdo.base.database import rows
from postdo.base.project import Project, is_installed
from postdo.django_migrations.history import History, Name, migration_files, migrations_package

# Whether there is a journal that this role can read. PostgreSQL 14 to 18.
READABLE = """
SELECT has_table_privilege(c.oid, 'SELECT') FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'postdo_journal' AND c.relname = 'source' AND has_schema_privilege(n.oid, 'USAGE')
"""
ARCHIVED = "SELECT app, name, checksum FROM postdo_journal.source"


@dataclass(frozen=True)
class StartupWarnings:
    """What happened past postdo, as sorted names.

    ``strangers``: applied, but the journal has no file of them. ``edited``: the file on disk does
    something else than the one that was applied.
    """

    strangers: tuple[Name, ...] = ()
    edited: tuple[Name, ...] = ()


def find_startup_warnings(
    run: Run, project: Project, session: BaseDatabaseWrapper, settled: History
) -> StartupWarnings:
    """What departs from the journal; nothing if there is no journal.

    Files of packages are not compared: their authors edit old migrations, and the user cannot do
    anything about it. (``sources`` and ``plan`` name these too.)
    """
    archived = _archived(session)
    if not archived:
        return StartupWarnings()
    applied = settled.recorded & settled.on_disk
    changed = [
        name
        for name, file in _own_files(project, applied & archived.keys())
        if _checksum(file) not in ("", archived[name])
    ]
    return StartupWarnings(
        strangers=tuple(sorted(applied - archived.keys())),
        edited=_edited(run, project, session, settled, changed) if changed else (),
    )


def _archived(session: BaseDatabaseWrapper) -> Mapping[Name, str]:
    try:
        if rows(session, READABLE) != [(True,)]:
            return {}
        return {(app, name): checksum for app, name, checksum in rows(session, ARCHIVED)}
    except (DatabaseError, InterfaceError):
        return {}


def _own_files(project: Project, names: Collection[Name]) -> Iterator[tuple[Name, Path]]:
    for app in project.apps:
        package = migrations_package(app)  # imported already, or the history would not be settled
        if package is None or all(is_installed(Path(place)) for place in package.__path__):
            continue
        for name, file in migration_files(package).items():
            if (app.label, name) in names:
                yield (app.label, name), file


def _checksum(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:  # compiled without its source
        return ""


def _edited(
    run: Run,
    project: Project,
    session: BaseDatabaseWrapper,
    settled: History,
    changed: Collection[Name],
) -> tuple[Name, ...]:
    from postdo.journal.journal import Journal  # noqa: PLC0415  takes a while
    from postdo.journal.sources import states  # noqa: PLC0415

    found = states(project, settled, Journal(run, session).sources())
    return tuple(sorted(name for name in changed if found.get(name) == "edited"))
