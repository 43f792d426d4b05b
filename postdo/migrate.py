"""Bring the database to the project's migrations: one process at a time, and only if needed."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo import history
from postdo.console import Stopwatch
from postdo.database import other_databases
from postdo.history import History
from postdo.lock import exclusive
from postdo.project import Project, set_up
from postdo.run import Run


@dataclass(frozen=True)
class Migrated:
    """What was done. ``applied``: as ``app.name``, in order; ``already``: how many were before.

    ``waited``: whether another process was at work first. ``seconds``: all of it, waiting too.
    """

    applied: tuple[str, ...]
    already: int
    waited: bool
    seconds: float


def migrate(run: Run, project: Project, session: BaseDatabaseWrapper) -> Migrated:
    """Apply what is pending on the default database.

    With nothing pending, names alone decide: no lock, no model, no migration module. Raises
    ``Refused``, ``Undone`` or ``NotUndone``.
    """
    watch = Stopwatch()
    others = other_databases()
    if others:
        run.console.say(
            f"only the database 'default' is migrated, not {', '.join(others)}: "
            "use manage.py migrate --database"
        )
    before = history.read(session, project)
    if before.settled:
        return _nothing(run, before, watch, waited=False)
    set_up()
    with exclusive(run, session) as waited:
        before = history.read(session, project)
        if before.settled:
            return _nothing(run, before, watch, waited=waited)
        from postdo.apply import apply  # noqa: PLC0415  imports what the short way avoids

        applied = apply(run, session, before)
    run.console.say(f"migrated: {len(applied)} applied ({watch})")
    return Migrated(applied, len(before.recorded & before.on_disk), waited, watch.seconds)


def _nothing(run: Run, settled: History, watch: Stopwatch, *, waited: bool) -> Migrated:
    already = len(settled.on_disk)
    run.console.say(f"nothing to migrate ({already} applied)")
    return Migrated((), already, waited, watch.seconds)
