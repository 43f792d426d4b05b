"""All pending migrations in one transaction: done as rehearsed, or undone as a whole.

Only called under the lock, with the project set up. An attempt that does not get a lock in time is
rolled back and made again, so that the site is held up by no more than one short wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError, atomic

from postdo import lock
from postdo.applying import own_session, table_locks
from postdo.applying.as_rehearsed import AS_BEFORE, require_same_rows, require_same_schema
from postdo.applying.commit import Fate, Identity, fate, identity, nobody_else_ends_it, status
from postdo.applying.patience import BusyError, Patience
from postdo.applying.pending import run_pending
from postdo.applying.table_locks import Watch
from postdo.console import Stopwatch
from postdo.database import cancel, rows, sqlstate
from postdo.errors import NotUndone, PostdoError, Undone, one_line
from postdo.history import Name, dotted
from postdo.project import where
from postdo.rehearsing.row_effects import RowEffects
from postdo.rehearsing.trace import Lock, Trace
from postdo.run import Run
from postdo.schema import catalogue

LOOKS_PER_WAIT = 4  # at who blocks, within one lock_timeout
# Lock not available, deadlock, serialization failure: PostgreSQL manual, appendix A.
BUSY = frozenset({"55P03", "40P01", "40001"})
ABORTED = "25P02"  # a statement after one that failed; says nothing about the cause

# Whether these migrations are recorded, each as app and name.
RECORDED = """
SELECT count(*) = %s FROM django_migrations WHERE (app || '.' || name) = ANY(%s)
"""

Inside = Callable[[BaseDatabaseWrapper], None]


@dataclass(frozen=True)
class Applied:
    """``names``: as ``app.name``. ``seconds``: all of it. ``attempts``: how often it was begun.

    ``locked_seconds``: from the first lock that the site can feel to the end of the last attempt.
    """

    names: tuple[str, ...]
    seconds: float
    attempts: int
    locked_seconds: float


@dataclass(frozen=True)
class _Task:
    """What every attempt is given."""

    run: Run
    session: BaseDatabaseWrapper
    worker: BaseDatabaseWrapper
    rehearsed: Trace | None
    inside: Inside
    compare_rows: bool


def in_one_transaction(
    run: Run,
    session: BaseDatabaseWrapper,
    rehearsed: Trace | None,
    inside: Inside,
    *,
    compare_rows: bool = True,
) -> Applied:
    """Apply all pending migrations of the default database; ``session`` holds the lock.

    ``rehearsed``: what they did on the copy; without it nothing is compared. ``compare_rows``:
    whether the copy had the rows. ``inside`` is called at the end of the transaction, with its
    session. Raises ``Undone`` if nothing stays, ``Stopped`` after a signal (nothing stays either,
    or all of it, and the console said which), and ``NotUndone`` only if the server cannot be asked
    what became of the COMMIT, or if a migration committed by the driver itself.
    """
    watch = Stopwatch()
    with own_session.own_session() as worker:
        task = _Task(run, session, worker, rehearsed, inside, compare_rows)
        patience = Patience(run)
        while True:
            attempt = _Attempt(task, patience.first)
            try:
                attempt.make()
            except BusyError as busy:
                patience.wait(busy, attempt.watch.blockers)
            else:
                break
        _run_hooks(run, worker, attempt.hooks)
    names = tuple(dotted((name,)) for name in attempt.names)
    return Applied(names, watch.seconds, patience.attempts + 1, attempt.locked_seconds)


class _Attempt:
    """One transaction, and what is known of it while it runs. Observes the migrations."""

    def __init__(self, task: _Task, first: tuple[Lock, ...]) -> None:
        self._task = task
        self._first_locks = first
        self._which: Identity | None = None
        self._running: Name | None = None
        self._file = ""
        self._step = time.monotonic()
        self._felt: float | None = None
        self._committing = self._lost = False
        self._first_error: BaseException | None = None
        self._became = Fate.ABORTED
        self.names: list[Name] = []
        self.hooks: list[Any] = []
        self.watch = Watch()
        self.locked_seconds = 0.0

    def make(self) -> None:
        """Do it all, or nothing. Raises ``BusyError`` where another attempt may succeed."""
        run, worker = self._task.run, self._task.worker
        with run.stop.guarded(self._may_stop, lambda: cancel(worker)):
            try:
                self._work()
            except BaseException as error:
                self._lost = own_session.is_lost(worker)
                own_session.discard(worker)
                if not self._committing:
                    if isinstance(error, NotUndone) or self._is_kept():
                        raise self._kept() from error
                    self._stop_if_asked(error)
                    raise self._explained(error) from error
                self._ask_what_became_of_it(error)
            finally:
                self.locked_seconds = time.monotonic() - (self._felt or time.monotonic())
            if run.stop.pending:
                run.console.say("the signal came too late: all migrations are applied and kept")

    def begins(self, name: Name, migration: Any) -> None:
        """Called before each migration."""
        self._task.run.stop.check()
        self._require_lock()
        self._running = name
        self._first_error = None
        self._file = type(migration).__module__
        self._step = time.monotonic()

    def ended(self, name: Name) -> None:
        """Called after each migration."""
        self._require_same_transaction()
        seconds = time.monotonic() - self._step
        self._task.run.console.say(f"applied {dotted((name,))} ({seconds:.2f} s)")
        self.names.append(name)
        self._running = None

    def _work(self) -> None:
        task, worker = self._task, self._task.worker
        own_session.begin(task.run, worker)
        pause = task.run.config.policies.lock_timeout_ms / 1000 / LOOKS_PER_WAIT
        with worker.execute_wrapper(self._listen), atomic(using=DEFAULT_DB_ALIAS):
            self._which = identity(worker)
            with (
                table_locks.watching(task.session, self._which.pid, pause) as self.watch,
                nobody_else_ends_it(worker),
            ):
                self._change()
            self.hooks, worker.run_on_commit = worker.run_on_commit, []
            self._committing = True  # from here on a signal waits for the answer

    def _change(self) -> None:
        """Everything between BEGIN and COMMIT."""
        task, worker = self._task, self._task.worker
        effects = RowEffects(worker)
        effects.baseline()
        known = task.rehearsed.locks if task.rehearsed else ()
        timeout = task.run.config.policies.lock_timeout_ms
        self._felt = table_locks.take(worker, (*known, *self._first_locks), timeout)
        if task.rehearsed is None:
            self._felt = time.monotonic()  # which locks it will take, nobody knows
        run_pending(worker, self)
        self._require_same_transaction()
        rows(worker, "SET CONSTRAINTS ALL IMMEDIATE")
        if task.rehearsed is not None:
            require_same_schema(task.rehearsed.after, catalogue.read(worker))
            if task.compare_rows:
                require_same_rows(task.rehearsed.effects, effects.read())
        own_session.remove_mark(worker)
        task.inside(worker)
        self._require_same_transaction()
        self._require_lock()

    def _may_stop(self) -> bool:
        return self._task.worker.in_atomic_block and not self._committing

    def _listen(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        """Remember the error that made the transaction useless: later ones do not tell."""
        try:
            return execute(sql, params, many, context)
        except Exception as error:
            if sqlstate(error) != ABORTED:
                self._first_error = error
            raise

    def _require_lock(self) -> None:
        if not lock.is_held(self._task.session):
            raise lock.LockLostError

    def _require_same_transaction(self) -> None:
        """Nothing ended our transaction, and Django will not roll it back in silence."""
        worker = self._task.worker
        if worker.needs_rollback or worker.closed_in_transaction:
            raise self._first_error or Undone(
                f"{self._culprit()}: it broke the transaction, or the connection, and went on",
                "let the migration raise its errors, and start again",
                details=(AS_BEFORE,),
            )
        if identity(worker) != self._which:
            raise self._kept()

    def _kept(self) -> NotUndone:
        """A migration committed by the driver itself, where nobody can refuse it."""
        under_way = (self._running,) if self._running else ()
        return NotUndone(
            f"{self._culprit()}: it ended the transaction past Django, by the driver itself",
            "look at what it did until then, take that back by hand, and correct it",
            details=(
                f"kept, as far as it had come: {dotted((*self.names, *under_way))}",
                "not kept: what came after that",
            ),
        )

    def _is_kept(self) -> bool:
        """Whether the transaction was committed although we never did it."""
        if self._which is None:
            return False
        if self._lost:
            # A crashed server can use its number again, so that it takes a record to believe it.
            self._became = fate(self._task.run, self._which, self._is_recorded)
            return self._became is Fate.COMMITTED and bool(self.names)
        try:
            return status(self._task.session, self._which) == "committed"
        except (DatabaseError, InterfaceError):
            return False

    def _stop_if_asked(self, error: BaseException) -> None:
        """A statement that was cancelled because of a signal is an error to Django, not to us."""
        run = self._task.run
        if run.stop.pending:
            run.console.say("stopped before the end: everything is rolled back")
            run.stop.check()

    def _explained(self, error: BaseException) -> Exception:
        if isinstance(error, PostdoError):
            return error
        if isinstance(error, lock.LockLostError):
            what = "the session that held the lock was lost, so another process may have begun"
            return Undone(what, "start again", details=(self._rolled_back(),))
        error = self._cause(error)
        if not BUSY.isdisjoint(_states(error)):
            return BusyError(f"{self._culprit()}: {one_line(error)}")
        place = where(error) or self._file
        details = [f"in {place}"] if place else []
        details += [line for line in str(error).splitlines() if line.startswith("DETAIL:")]
        details.append(self._rolled_back())
        if isinstance(error, SystemExit):
            error = SystemExit(f"it ended the process with code {error.code}")
        return Undone(
            f"{self._culprit()}: {one_line(error)}",
            f"correct {self._culprit()} or the data that it meets, and start again"
            if self._running
            else "correct the cause and start again",
            details=tuple(details),
        )

    def _cause(self, error: BaseException) -> BaseException:
        silent = sqlstate(error) == ABORTED or isinstance(error, TransactionManagementError)
        return self._first_error if silent and self._first_error else error

    def _culprit(self) -> str:
        if self._running is not None:
            return dotted((self._running,))
        return "after the last migration" if self.names else "migrate"

    def _rolled_back(self) -> str:
        """Without a COMMIT nothing can stay; the only question is whether it has ended yet."""
        if self._became is not Fate.UNKNOWN:
            return AS_BEFORE
        return (
            "the database does not answer; COMMIT was never sent, so that PostgreSQL takes all of "
            "it back as soon as it runs"
        )

    def _is_recorded(self, session: BaseDatabaseWrapper) -> bool:
        names = [dotted((name,)) for name in self.names]
        return not names or bool(rows(session, RECORDED, len(names), names)[0][0])

    def _ask_what_became_of_it(self, error: BaseException) -> None:
        assert self._which is not None  # noqa: S101  there is no COMMIT without
        console = self._task.run.console
        became = fate(self._task.run, self._which, self._is_recorded)
        if became is Fate.COMMITTED:
            console.say("the answer to COMMIT was lost; the server says that it was carried out")
        elif became is Fate.ABORTED and not BUSY.isdisjoint(_states(error)):
            raise BusyError(f"COMMIT: {one_line(error)}") from error
        elif became is Fate.ABORTED:
            self._stop_if_asked(error)
            what = f"COMMIT failed: {one_line(error)}"
            raise Undone(what, "start again", details=(AS_BEFORE,)) from error
        else:
            raise NotUndone(
                f"the answer to COMMIT was lost, and the server does not say more: "
                f"{one_line(error)}",
                f"when the database is back, ask it: {self._which.question}; and start again, "
                "which is right in both cases",
                details=(
                    "committed: all of it is applied; aborted: nothing is; a part is impossible",
                    f"migrations: {dotted(tuple(self.names)) or 'none'}",
                ),
            ) from error


def _states(error: BaseException) -> set[str]:
    """What the database said in an error or in those that led to it."""
    states: set[str] = set()
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        states.add(sqlstate(link) or "")
        link = link.__cause__ or link.__context__
    return states


def _run_hooks(run: Run, worker: BaseDatabaseWrapper, hooks: list[Any]) -> None:
    """What migrations left for after the COMMIT. Nothing can be undone any more."""
    worker.run_on_commit = hooks
    try:
        worker.run_and_clear_commit_hooks()
    except (Exception, SystemExit) as error:  # noqa: BLE001  any code of the project
        run.console.warn(
            "all migrations are applied and kept, but a function that one of them left to run "
            f"after that failed at {where(error) or 'an unknown place'}: {one_line(error)}"
        )
