"""Find contradictions between migration files, django_migrations and the journal's archive.

Django's own loader decides what blocks a release. The archive in the journal tells how it can be
repaired: which file is missing, was renamed, was edited, or belongs to a newer release. Numbers are
rows of docs/hazards.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from django.apps import apps as registry
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from postdo.base.context import Run
from postdo.base.database import other_databases, rows
from postdo.base.project import Project
from postdo.checks.graph import Seen, blocked, listed, order_problems
from postdo.django_migrations.history import History, Name
from postdo.django_migrations.model_changes import unreadable
from postdo.journal.journal import Journal, Source
from postdo.journal.source_text import do_the_same
from postdo.journal.sources import read_sources, replaced_by, states
from postdo.journal.sources_output import from_where, show
from postdo.plan.findings import Problem

# In which order the recorded migrations were applied: app, name, and a number that grows.
ORDER = "SELECT app, name, id FROM django_migrations"
# Tables whose name begins like this, in any schema that is searched. PostgreSQL 14 to 18.
TABLES_OF = """
SELECT relname FROM pg_catalog.pg_class
WHERE relkind IN ('r', 'p') AND pg_catalog.pg_table_is_visible(oid) AND starts_with(relname, %s)
ORDER BY relname
"""
# As Django counts: the number of a squash is that of the last migration in it.
SQUASHED = re.compile(r".*_squashed_(\d+)")
NUMBERED = re.compile(r"(\d+)")
NO_OPERATIONS = re.compile(r"^\s+operations\b[^=\n]*=\s*\[\s*\]", re.MULTILINE)


def find_problems(
    run: Run,
    project: Project,
    session: BaseDatabaseWrapper,
    before: History,
    archived: Mapping[Name, Source],
) -> tuple[Problem, ...]:
    """Everything about the history that blocks or should be known, worst first.

    ``archived``: the sources in the journal. The project must be set up. Raises only Django's
    database errors.
    """
    worker = connections[DEFAULT_DB_ALIAS]
    loader = MigrationLoader(worker, load=False)
    try:
        loader.load_disk()
    except Exception as error:  # noqa: BLE001  the project's own code
        return (blocked(0, unreadable(error)),)
    seen = _look(run, project, session, before, archived, loader)
    found, waiting = order_problems(seen, loader, worker)
    found += [*_ahead(seen, blocking=waiting), *_renamed(seen), *_missing(seen), *_edited(seen)]
    found += [*_leftover(seen), *_other_aliases()]
    return tuple(sorted(found, key=lambda one: not one.blocking))


def real_reason(history: Iterable[Problem], models: Iterable[str]) -> Problem | None:
    """The problem because of which ``models`` only seem to have changes without a migration.

    That is so if files are lost or the code is older than the database. A new migration would then
    do again what is applied already, so the problem blocks.
    """
    for one in history:
        if one.explains_models:
            details = (*one.details, *(f"so {what}" for what in models))
            return replace(one, blocking=True, details=details)
    return None


def ahead(
    run: Run,
    project: Project,
    session: BaseDatabaseWrapper,
    before: History,
    journal: Journal | None = None,
) -> tuple[Name, ...]:
    """Migrations that a newer release has applied and this code does not know, by name.

    A recorded migration is newer if its number is higher than all on disk of its app, and if it was
    recorded after them. If the journal has files of the app, it must have this one too, and an
    equal number is enough, as two branches produce it. Empty if names cannot tell
    (``before.unsure``). Nothing is imported.
    """
    gone = _gone(project, before, {}) if not before.unsure else frozenset()
    if not gone:
        return ()
    newer = _newer(before, gone, _order(session))
    if not newer:
        return ()
    archived = (journal or Journal(run, session)).sources()
    return _known_to(project, before, archived, newer)


def _look(  # noqa: PLR0917  all of what is found is about
    run: Run,
    project: Project,
    session: BaseDatabaseWrapper,
    before: History,
    archived: Mapping[Name, Source],
    loader: MigrationLoader,
) -> Seen:
    disk = loader.disk_migrations or {}
    before = replace(before, on_disk=frozenset(disk), unsure="")
    declared = {replaced for one in disk.values() for replaced in one.replaces}
    gone = _gone(project, before, archived) - declared
    newer = _newer(before, gone, _order(session)) if gone else ()
    newer = _known_to(project, before, archived, newer)
    return Seen(run, project, session, before, archived, gone, newer)


def _order(session: BaseDatabaseWrapper) -> dict[Name, int]:
    return {(app, name): at for app, name, at in rows(session, ORDER)}


def _gone(project: Project, before: History, archived: Mapping[Name, Source]) -> frozenset[Name]:
    labels = {app.label for app in project.apps if app.migrations is not None}
    gone = {name for name in before.recorded - before.on_disk if name[0] in labels}
    return frozenset(gone - replaced_by(project, before.on_disk, gone, archived))


def _newer(before: History, gone: Collection[Name], order: Mapping[Name, int]) -> tuple[Name, ...]:
    def is_newer(name: Name) -> bool:
        there = [one for one in before.on_disk if one[0] == name[0]]
        recorded_after = all(order[name] > order[one] for one in there if one in order)
        number, most = _number(name[1]), _most(before, name[0])
        return recorded_after and (number is None or number >= most)

    return tuple(sorted(name for name in gone if name in order and is_newer(name)))


def _known_to(
    project: Project, before: History, archived: Mapping[Name, Source], names: Iterable[Name]
) -> tuple[Name, ...]:
    labels = {label for label, _ in archived}

    def is_known(name: Name) -> bool:
        beyond = _number(name[1]) != _most(before, name[0])
        if name in archived:
            return beyond or _new_name(project, before, archived[name]) is None
        return beyond and name[0] not in labels

    return tuple(name for name in names if is_known(name))


def _new_name(project: Project, before: History, source: Source) -> Name | None:
    """The migration that does the same and is not applied; what does nothing, many may do."""
    if NO_OPERATIONS.search(source.text):
        return None
    waiting = {one for one in before.on_disk - before.recorded if one[0] == source.name[0]}
    same = (one.name for one in read_sources(project, waiting) if do_the_same(one, source))
    return next(same, None)


def _most(before: History, label: str) -> int:
    """The highest number on disk of an app."""
    return max((_number(name) or 0 for app, name in before.on_disk if app == label), default=0)


def _number(name: str) -> int | None:
    found = SQUASHED.match(name) or NUMBERED.match(name)
    return int(found[1]) if found else None


def _ahead(seen: Seen, *, blocking: bool) -> Iterable[Problem]:
    """11: an older release was started again."""
    if seen.ahead:
        archived = [name for name in seen.ahead if name in seen.archived]
        apps = sorted({app for app, _ in seen.ahead})
        yield Problem(
            11,
            f"the database is ahead of this code: a newer release applied {listed(seen.ahead)}",
            "deploy the release that contains these migrations"
            + (
                f", or restore their files {from_where(seen.run, archived[0])} and commit them"
                if archived
                else ""
            )
            + (
                ""
                if archived
                else (
                    "; or, if they are left over from a reset, remove their records: "
                    + " and ".join(f"manage.py migrate {app} --prune" for app in apps)
                )
            ),
            blocking=blocking,
            explains_models=True,
        )


def _renamed(seen: Seen) -> Iterable[Problem]:
    """6: to Django, a lost file and a new migration, which would be applied once more."""
    for name in sorted(seen.gone & seen.archived.keys()):
        new = _new_name(seen.project, seen.before, seen.archived[name])
        if new is not None:
            yield Problem(
                6,
                f"{listed((name,))} was renamed to {listed((new,))} after it was applied; migrate "
                "would apply it again",
                "rename the file back, or rename its record: UPDATE django_migrations SET name = "  # noqa: S608  shown only
                f"'{new[1]}' WHERE app = '{name[0]}' AND name = '{name[1]}'",
                blocking=True,
            )


def _missing(seen: Seen) -> Iterable[Problem]:
    """6: applied, and the file is gone; not what a squash replaces, or a newer release made."""
    gone = seen.gone - set(seen.ahead)
    archived = sorted(gone & seen.archived.keys())
    if archived:
        yield Problem(
            6,
            f"the files of applied migrations are missing: {listed(archived)}",
            f"restore the files {from_where(seen.run, archived[0])} and commit them",
            blocking=False,
            details=_by_app(archived),
            explains_models=True,
        )
    unknown = sorted(gone - seen.archived.keys())
    if unknown:
        yield Problem(
            6,
            f"{len(unknown)} applied migrations have neither a file nor an archived copy",
            "if later migrations replaced them, do nothing; otherwise restore the files from "
            "version control",
            blocking=False,
            details=_by_app(unknown),
        )


def _edited(seen: Seen) -> Iterable[Problem]:
    """7: a database made anew would not be like this one."""
    found = states(seen.project, seen.before, seen.archived)
    edited = [name for name, state in found.items() if state == "edited"]
    if edited:
        yield Problem(
            7,
            f"migrations were edited after they were applied: {listed(edited)}",
            f"see the applied version with `{show(seen.run, edited[0])}`; put further "
            "changes into a new migration",
            blocking=False,
            details=_by_app(edited),
        )


def _leftover(seen: Seen) -> Iterable[Problem]:
    """14: never dropped by us."""
    installed = {app.label for app in seen.project.apps}
    used = {model._meta.db_table for model in registry.get_models(include_auto_created=True)}
    for label in sorted({app for app, _ in seen.before.recorded} - installed):
        tables = [name for (name,) in rows(seen.session, TABLES_OF, f"{label}_")]
        left = [name for name in tables if name not in used]
        if left:
            yield Problem(
                14,
                f"the app {label} is not installed any more, but its tables still exist",
                "drop the tables by hand when nobody needs their rows",
                blocking=False,
                details=(", ".join(left),),
            )


def _other_aliases() -> Iterable[Problem]:
    """19: nothing is atomic across databases."""
    others = other_databases()
    if others:
        yield Problem(
            19,
            f"postdo migrates only the database 'default', not {', '.join(others)}",
            "migrate the others with manage.py migrate --database, unless they are read-only",
            blocking=False,
        )


def _by_app(names: Iterable[Name]) -> tuple[str, ...]:
    grouped: dict[str, list[str]] = {}
    for app, name in names:
        grouped.setdefault(app, []).append(name)
    return tuple(f"{app}: {', '.join(found)}" for app, found in grouped.items())
