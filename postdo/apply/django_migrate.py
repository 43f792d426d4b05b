"""Run ``migrate`` as a person would, and know exactly what it left behind if it fails.

Each migration is as atomic as Django makes it: those before a failing one stay. Only called under
the lock, with the project set up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from postdo.base import advisory_lock
from postdo.base.context import Run
from postdo.base.database import cancel, observer, rows
from postdo.base.errors import NotUndone, PostdoError, Undone, one_line
from postdo.base.signals import Stopped
from postdo.django_migrations import history
from postdo.django_migrations.executor import pending_migrations
from postdo.django_migrations.history import COMMENT, UNFINISHED, History, Name, dotted
from postdo.django_migrations.model_changes import conflict, unreadable
from postdo.executor.run_pending import run_migrate


@dataclass(frozen=True)
class _Planned:
    name: Name
    atomic: bool


class _Progress:
    """Django's progress callback: says what is applied, and may stop before the next one."""

    def __init__(self, run: Run, session: BaseDatabaseWrapper, before: History) -> None:
        self._run = run
        self._session = session
        self._before = before
        self._started = 0.0
        self.running: Name | None = None
        self.applied: list[Name] = []

    def __call__(self, action: str, migration: Any = None, fake: bool = False) -> None:
        if action == "apply_start":
            self._run.stop.check()
            if not advisory_lock.is_held(self._session):
                raise advisory_lock.LockLostError
            if not self.applied:
                _mark(self._session, UNFINISHED + self._before.comment)
            self.running = (migration.app_label, migration.name)
            self._started = time.monotonic()
        elif action == "apply_success" and self.running is not None:
            seconds = time.monotonic() - self._started
            self._run.console.say(f"applied {dotted((self.running,))} ({seconds:.2f} s)")
            self.applied.append(self.running)
            self.running = None


Around = Callable[[Run, BaseDatabaseWrapper], AbstractContextManager[None]]


def apply(
    run: Run,
    session: BaseDatabaseWrapper,
    before: History,
    around: Around = lambda _run, _worker: nullcontext(),
) -> tuple[str, ...]:
    """Apply all pending migrations as Django does. Returns them as ``app.name``.

    ``session`` holds the lock. ``around``: makes a context that is active while they run, from
    their session. Raises ``Refused`` if they have no valid order, ``Undone`` if nothing stays,
    ``NotUndone`` with the list of what does, and ``Stopped`` after a signal.
    """
    worker = connections[DEFAULT_DB_ALIAS]
    plan = _plan(run, worker)
    progress = _Progress(run, session, before)
    try:
        with (
            advisory_lock.working(worker),
            run.stop.guarded(lambda: worker.in_atomic_block, lambda: cancel(worker)),
            around(run, worker),
        ):
            run_migrate(progress)
            _mark(session, before.comment)
    except (Exception, SystemExit, Stopped) as error:
        # A statement that was cancelled because of a signal is an error to Django, not to us.
        if isinstance(error, Stopped) or run.stop.pending:
            _say_where_it_stopped(run, plan, progress)
            run.stop.check()
        with observer(session, f"postdo {run.config.host}") as looking:
            raise _what_it_left(error, plan, progress, looking, before) from error
    finally:
        with suppress(DatabaseError, InterfaceError):
            worker.close()
    if not advisory_lock.is_held(session):
        run.console.warn(
            "postdo lost its lock (the session ended) before the last migration was done, but all "
            "migrations are applied and recorded"
        )
    return tuple(dotted((name,)) for name in progress.applied)


def _plan(run: Run, worker: BaseDatabaseWrapper) -> tuple[_Planned, ...]:
    try:
        executor = MigrationExecutor(worker)
        executor.loader.check_consistent_history(worker)
        conflicts = executor.loader.detect_conflicts()
        left = pending_migrations(executor)
    except DatabaseError:
        raise
    except Exception as error:
        raise unreadable(error) from error
    if conflicts:
        raise conflict(conflicts, run.config.manage)
    return tuple(_Planned((step.app_label, step.name), bool(step.atomic)) for step in left)


def _mark(session: BaseDatabaseWrapper, comment: str) -> None:
    """Set the table's comment. A role that does not own the table migrates without the mark."""
    with suppress(DatabaseError, InterfaceError):
        ((statement,),) = rows(session, COMMENT, comment)
        rows(session, statement)


def _say_where_it_stopped(run: Run, plan: tuple[_Planned, ...], progress: _Progress) -> None:
    run.console.say(
        f"stopped after {len(progress.applied)} of {len(plan)} migrations; each of them is "
        "complete, and the next start continues from there"
    )


def _what_it_left(
    error: BaseException,
    plan: tuple[_Planned, ...],
    progress: _Progress,
    observer: BaseDatabaseWrapper | None,
    before: History,
) -> PostdoError:
    recorded = _recorded(observer)
    if observer is None or recorded is None:
        return NotUndone(
            f"{_culprit(progress)}: {one_line(error)}; the database no longer answers",
            "restart the database and try again: recorded migrations stay applied, and PostgreSQL "
            "rolls back an atomic migration that was running",
            details=_state(progress.applied, progress.running, ()),
        )
    kept = [step.name for step in plan if step.name in recorded]
    missing = [step for step in plan if step.name not in recorded]
    failed = next((step for step in missing if step.name == progress.running), None)
    half = failed is not None and not failed.atomic
    what = (
        "postdo lost its lock (the session ended), so another process may have started"
        if isinstance(error, advisory_lock.LockLostError)
        else f"{_culprit(progress, done=not missing)}: {one_line(error)}"
    )
    if not kept and not half:
        _mark(observer, before.comment)
        return Undone(
            what,
            f"fix {dotted((failed.name,))}, or the rows on which it fails, and try again"
            if failed
            else "fix the cause and try again",
            details=("nothing was applied; the database is unchanged",),
        )
    rest = [step.name for step in missing if step is not failed]
    return NotUndone(
        what,
        _next_step(failed, half=half, done=not missing),
        details=_state(kept, failed.name if failed else None, rest, half=half),
    )


def _recorded(observer: BaseDatabaseWrapper | None) -> frozenset[Name] | None:
    """What is recorded now: nothing where there is no table yet, ``None`` where nobody can tell."""
    if observer is None:
        return None
    try:
        ((exists, _),) = rows(observer, history.RECORDER)
        return frozenset(
            (app, name) for app, name in (rows(observer, history.RECORDED) if exists else ())
        )
    except (DatabaseError, InterfaceError):
        return None


def _culprit(progress: _Progress, *, done: bool = False) -> str:
    if progress.running is not None:
        return dotted((progress.running,))
    return "a post_migrate handler" if done else "migrate"


def _state(
    kept: list[Name], failed: Name | None, rest: list[Name] | tuple[()], *, half: bool = False
) -> tuple[str, ...]:
    lines = [f"stays applied: {dotted(tuple(kept)) or 'none'}"]
    if failed is not None:
        end = "not atomic, so part of it may stay" if half else "rolled back"
        lines.append(f"failed: {dotted((failed,))} ({end})")
    if rest:
        lines.append(f"not started: {dotted(tuple(rest))}")
    return tuple(lines)


def _next_step(failed: _Planned | None, *, half: bool, done: bool) -> str:
    if half and failed is not None:
        return (
            f"undo by hand what {dotted((failed.name,))} changed, fix the migration and try again"
        )
    if done:
        return "fix the handler and try again: all handlers run again"
    return "fix the cause and try again: the next run continues after the applied migrations"
