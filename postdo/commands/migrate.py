"""The ``migrate`` command: apply pending migrations, if there are any, one process at a time."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.advisory_lock import exclusive
from postdo.base.config import Mode
from postdo.base.console import Stopwatch
from postdo.base.context import Run
from postdo.base.database import other_databases
from postdo.base.errors import Refused
from postdo.base.project import Project, set_up
from postdo.django_migrations import history
from postdo.django_migrations.history import History
from postdo.journal.startup_warnings import find_startup_warnings


@dataclass(frozen=True)
class Migrated:
    """What was done. ``applied``: as ``app.name``, in order; ``already``: how many were before.

    - ``waited``: whether another process worked first. ``seconds``: all of it, with the waiting.
    - ``mode``: ``transaction``, ``swap``, ``concurrent`` or ``plain`` (as Django does it); empty if
      nothing was to be done. ``checksum``: of the plan that was carried out.
    """

    applied: tuple[str, ...]
    already: int
    waited: bool
    seconds: float
    mode: str = ""
    checksum: str = ""


@dataclass(frozen=True)
class Way:
    """What the command line asks for. ``approval``: the checksum of the approved plan.

    ``concurrently``: use the mode that keeps CONCURRENTLY, and cannot undo everything.
    """

    approval: str = ""
    concurrently: bool = False


def migrate(run: Run, project: Project, session: BaseDatabaseWrapper, way: Way) -> Migrated:
    """Apply what is pending on the default database.

    If nothing is pending, names alone decide: without lock, models or migration modules. Raises
    ``Refused``, ``Undone`` or ``NotUndone``.
    """
    watch = Stopwatch()
    others = other_databases()
    if others:
        run.console.say(
            f"postdo migrates only the database 'default', not {', '.join(others)}: use manage.py "
            "migrate --database"
        )
    before = history.read(session, project)
    always = _is_always_run(run, project)
    if before.settled and not always:
        return _nothing(run, project, session, before, watch, waited=False)
    set_up()
    _require_steady(run, session)
    with exclusive(run, session) as waited:
        before = history.read(session, project)
        if before.settled and not always:
            return _nothing(run, project, session, before, watch, waited=waited)
        applied, mode, checksum = _carry_out(run, project, session, before, way)
    run.console.tell(f"migrated: {len(applied)} applied ({watch})")
    run.console.facts.add("applied", *applied)
    _note_migrations(run, before, applied)
    already = len(before.recorded & before.on_disk)
    return Migrated(applied, already, waited, watch.seconds, mode, checksum)


def _is_always_run(run: Run, project: Project) -> bool:
    """A command that an app brings may do more, which developers have at each start.

    In production nothing is done that was not planned, and with nothing pending there is no plan.
    """
    return run.config.mode is not Mode.PRODUCTION and project.overrides("migrate")


def _nothing(
    run: Run,
    project: Project,
    session: BaseDatabaseWrapper,
    settled: History,
    watch: Stopwatch,
    *,
    waited: bool,
) -> Migrated:
    if settled.unknown_in(project):
        set_up()
        from postdo.release.downgrade import check_ahead  # noqa: PLC0415  only after a step back

        check_ahead(run, project, session, settled)
    if run.config.mode is Mode.PRODUCTION:
        _warn_of_departures(run, project, session, settled)
    _note_migrations(run, settled)
    already = len(settled.on_disk)
    run.console.say(f"nothing to migrate ({already} applied)")
    return Migrated((), already, waited, watch.seconds)


def _note_migrations(run: Run, before: History, applied: tuple[str, ...] = ()) -> None:
    """What this code has, now that it is applied. Whoever brings it back compares the database.

    Nothing if names alone cannot tell.
    """
    if not before.unsure:
        there = {f"{app}.{name}" for app, name in before.on_disk & before.recorded}
        run.console.facts.add("migration", *sorted(there.union(applied)))


def _warn_of_departures(
    run: Run, project: Project, session: BaseDatabaseWrapper, settled: History
) -> None:
    found = find_startup_warnings(run, project, session, settled)
    if found.strangers:
        run.console.warn(
            "recorded as applied, but postdo did not apply them: "
            f"{history.dotted(found.strangers)}. Check that the schema matches: "
            f"{run.config.postdo('drift')}"
        )
    if found.edited:
        run.console.warn(
            f"edited after they were applied: {history.dotted(found.edited)}. The edits have no "
            f"effect here, and new databases will differ. Compare: {run.config.postdo('sources')}"
        )


def _require_steady(run: Run, session: BaseDatabaseWrapper) -> None:
    """Before the lock: a pooler that changes the session under us would keep it for ever."""
    if run.config.mode is not Mode.PRODUCTION:
        return
    from postdo.checks.pooler import pooler_problem  # noqa: PLC0415  only where something is pending

    problem = pooler_problem(session)
    if problem is not None:
        raise Refused(problem.what, problem.next_step, details=problem.details)


def _carry_out(
    run: Run, project: Project, session: BaseDatabaseWrapper, before: History, way: Way
) -> tuple[tuple[str, ...], str, str]:
    """The migrations that were applied, in which mode, and the plan's checksum."""
    # What follows imports the models, which the short way avoids.
    from postdo.apply import concurrent, django_migrate  # noqa: PLC0415

    if run.config.mode is not Mode.PRODUCTION:
        from postdo.base.system_checks import require_checks  # noqa: PLC0415

        require_checks(run, database=True)
        if way.concurrently:
            names = concurrent.apply_concurrently(run, session, before)
            return names, concurrent.MODE, ""
        return django_migrate.apply(run, session, before), "plain", ""
    from postdo.release.release import run_release  # noqa: PLC0415

    return run_release(run, project, session, before, way.approval, concurrently=way.concurrently)
