"""Find what keeps Django from ordering the migrations, and how that can be repaired.

Numbers are rows of docs/hazards.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.exceptions import InconsistentMigrationHistory, NodeNotFoundError
from django.db.migrations.loader import MigrationLoader

from postdo.base.context import Run
from postdo.base.errors import PostdoError, one_line
from postdo.base.project import Project
from postdo.django_migrations.history import History, Name, dotted
from postdo.django_migrations.model_changes import conflict, unreadable
from postdo.journal.journal import Source
from postdo.journal.source_text import dependencies
from postdo.journal.sources_output import from_where
from postdo.plan.findings import Problem

SHOWN = 8  # migrations named in one line
NO_ORDER = (9, 10)  # HAZARDS: a migration needs another one that is not there


@dataclass(frozen=True)
class Seen:
    """What is on disk and what is recorded.

    ``before``: with what Django's loader found on disk. ``gone``: recorded for an app whose
    migrations are on, but neither on disk nor replaced. ``ahead``: those of them that are newer
    than the disk.
    """

    run: Run
    project: Project
    session: BaseDatabaseWrapper
    before: History
    archived: Mapping[Name, Source]
    gone: frozenset[Name]
    ahead: tuple[Name, ...]


def order_problems(
    seen: Seen, loader: MigrationLoader, worker: BaseDatabaseWrapper
) -> tuple[list[Problem], bool]:
    """What is wrong with the order of the migrations, and whether any is pending.

    ``loader``: made for ``worker``, but not built yet.
    """
    try:
        loader.build_graph()
    except Error:
        raise
    except NodeNotFoundError as error:
        return [_no_node(seen, loader, error)], True
    except Exception as error:  # noqa: BLE001  such as a circle
        return [blocked(0, unreadable(error))], True
    found: list[Problem] = []
    conflicts = loader.detect_conflicts()
    if conflicts:
        found.append(blocked(5, conflict(conflicts, seen.run.config.manage)))
    try:
        loader.check_consistent_history(worker)
    except InconsistentMigrationHistory as error:
        found.append(_inconsistent(seen, loader, error))
    found.extend(_partly_squashed(seen, loader))
    return found, not loader.graph.nodes.keys() <= loader.applied_migrations.keys()


def _no_node(seen: Seen, loader: MigrationLoader, error: NodeNotFoundError) -> Problem:
    """9 and 10: a migration needs another one that is not there."""
    disk = loader.disk_migrations or {}
    node: Name = (error.node[0], error.node[1])
    squashed = node in disk or any(node in one.replaces for one in disk.values())
    needed = [node] if node not in disk else [(app, one) for app, one in disk[node].replaces]
    lost = [one for one in needed if one not in disk]
    mending = _mending(seen, list(lost))
    return Problem(
        9 if squashed else 10,
        f"Django cannot order the migrations: {one_line(error)}",
        _bring_back(seen, lost, mending),
        blocking=True,
        details=tuple(f"archived: {dotted((name,))}" for name in mending),
    )


def _bring_back(seen: Seen, lost: Collection[Name], mending: Collection[Name]) -> str:
    """What to do about files that are gone; ``mending``: those that the archive has."""
    unknown = [name for name in lost if name not in mending]
    if not unknown:
        there = from_where(seen.run, next(iter(mending)))
        return f"restore {listed(mending)} {there}, commit and release again"
    return f"restore {listed(unknown)} from version control, commit and release again"


def _mending(seen: Seen, missing: list[Name]) -> tuple[Name, ...]:
    """The archived files that would have to come back, with those that they need in turn."""
    found: set[Name] = set()
    while missing:
        name = missing.pop()
        if name in seen.before.on_disk or name in found or name not in seen.archived:
            continue
        found.add(name)
        missing.extend(dependencies(seen.archived[name].text))
    return tuple(sorted(found))


def _inconsistent(seen: Seen, loader: MigrationLoader, error: Exception) -> Problem:
    """8: applied before what it depends on; mostly a user model that was swapped in late."""
    applied = seen.before.recorded
    nodes = loader.graph.node_map
    parents = {
        parent.key: child
        for child in sorted(applied & nodes.keys())
        for parent in nodes[child].parents
        if parent.key not in applied and not _is_replaced(loader, parent.key, applied)
    }
    return Problem(
        8,
        one_line(error),
        "create by hand what the missing migration would create, then record it with the INSERT "
        "that is shown here; a user model that came late keeps its tables with Meta.db_table = "
        "'auth_user'",
        blocking=True,
        details=tuple(
            f"INSERT INTO django_migrations (app, name, applied) VALUES "  # noqa: S608  shown only
            f"('{app}', '{name}', now());  -- {dotted((child,))} needs it"
            for (app, name), child in sorted(parents.items())
        ),
    )


def _is_replaced(loader: MigrationLoader, name: Name, applied: Collection[Name]) -> bool:
    squash = loader.replacements.get(name)
    return squash is not None and all((a, n) in applied for a, n in squash.replaces)


def _partly_squashed(seen: Seen, loader: MigrationLoader) -> Iterable[Problem]:
    """9: Django goes on with the single migrations, and says nothing if their files are gone."""
    for name, squash in sorted(loader.replacements.items()):
        single = [(app, one) for app, one in squash.replaces]
        missing = [one for one in single if one not in seen.before.recorded]
        if not missing or len(missing) == len(single):
            continue
        lost = [one for one in missing if one not in seen.before.on_disk]
        yield Problem(
            9,
            f"the squashed migration {dotted((name,))} is only partly applied, without "
            f"{listed(missing)}"
            + (f"; Django skips {listed(lost)}, because the files are missing" if lost else ""),
            _bring_back(seen, lost, _mending(seen, list(lost)))
            if lost
            else "do nothing: Django continues with the migrations that it replaces",
            blocking=bool(lost),
        )


def blocked(hazard: int, error: PostdoError) -> Problem:
    """A blocking problem from an error that another module raised."""
    return Problem(hazard, error.what, error.next_step, blocking=True, details=error.details)


def listed(names: Collection[Name]) -> str:
    """The first of the names, and how many more there are."""
    return dotted(names, SHOWN)
