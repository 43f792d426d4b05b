"""Apply all pending migrations in one transaction: either as rehearsed, or not at all.

The caller holds the advisory lock, and the project is set up. An attempt has these steps:

1. Take the locks that the rehearsal saw, in a fixed order, with a short timeout (``table_locks``).
   If another session has one of them, roll back and try again later (``lock_timeout``). So the site
   never waits for longer than one timeout.
2. Run the migrations (``executor.run_pending``) and write the journal.
3. Compare the schema and the number of changed rows with the rehearsal (``rehearsal.verify``).
4. COMMIT. If the answer is lost, ask the server what became of it (``executor.commit_status``).

Any failure before COMMIT rolls everything back and raises ``Undone``. ``NotUndone`` is raised only
if a migration committed on its own, or if nobody can say whether COMMIT took place.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError, atomic

from postdo.apply import errors, sequences, table_locks
from postdo.apply.lock_timeout import BusyError, LockRetry
from postdo.apply.table_locks import Watch
from postdo.base import advisory_lock, sqlstates
from postdo.base.console import Stopwatch
from postdo.base.context import Run
from postdo.base.database import cancel, observer, rows, sqlstate
from postdo.base.errors import NotUndone, Undone, one_line
from postdo.base.project import where
from postdo.django_migrations.history import Name, dotted
from postdo.executor import migration_session
from postdo.executor.commit_status import (
    CommitStatus,
    Identity,
    commit_status,
    identity,
    nobody_else_ends_it,
    status,
)
from postdo.executor.run_pending import run_pending
from postdo.executor.transaction_scope import CHECK_CONSTRAINTS
from postdo.rehearsal import row_counts
from postdo.rehearsal.trace import Effect, Lock, Trace
from postdo.rehearsal.verify import (
    require_no_more_deleted,
    require_same_rows,
    require_same_schema,
)
from postdo.schema import catalogue

LOOKS_PER_WAIT = 4  # at who blocks, within one lock_timeout

# Whether these migrations are recorded, each as app and name.
ALL_RECORDED = """
SELECT count(*) = %s FROM django_migrations WHERE (app || '.' || name) = ANY(%s)
"""

Inside = Callable[[BaseDatabaseWrapper], None]


@dataclass(frozen=True)
class Applied:
    """What was applied. ``names``: as ``app.name``. ``seconds``: for all attempts together.

    ``locked_seconds``: from the first lock that the site can notice to the end of the last attempt.
    ``attempts``: how many were begun.
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
    changes: int | None
    no_more_deleted: bool


def in_one_transaction(
    run: Run,
    session: BaseDatabaseWrapper,
    rehearsed: Trace | None,
    inside: Inside,
    *,
    compare_rows: bool = True,
    changes: int | None = None,
    no_more_deleted: bool = False,
) -> Applied:
    """Apply all pending migrations of the default database in one transaction.

    Before COMMIT, the schema and the changed rows are compared with the rehearsal. ``session``
    holds the lock; ``inside`` is called at the end of the transaction with the session that runs
    it.

    - ``rehearsed``: what they did on the copy; without it nothing is compared.
    - ``compare_rows``: whether the copy had the rows. ``changes``: ``row_counts.changes`` when it
      was made, if the site has worked since.
    - ``no_more_deleted``: whether not one row more may be deleted than on the copy.

    Raises ``Undone`` if nothing stays, and ``Stopped`` after a signal (nothing stays either, or all
    of it, and the console said which). Raises ``NotUndone`` only if the server cannot be asked what
    became of the COMMIT, or if a migration committed by the driver itself.
    """
    watch = Stopwatch()
    with migration_session.open_session() as worker:
        task = _Task(
            run, session, worker, rehearsed, inside, compare_rows, changes, no_more_deleted
        )
        retry = LockRetry(run)
        while True:
            attempt = _Attempt(task, retry.first)
            try:
                attempt.make()
            except BusyError as busy:
                attempt.forget_modules()
                retry.wait(busy, attempt.watch.blockers)
            except Undone:
                attempt.forget_modules()
                raise
            else:
                break
    names = tuple(dotted((name,)) for name in attempt.names)
    return Applied(names, watch.seconds, retry.attempts + 1, attempt.locked_seconds)


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
        self._became = CommitStatus.ABORTED
        self._modules: set[str] = set()
        self._sequences: dict[str, int] = {}
        self._set_sequences = False
        self.names: list[Name] = []
        self._hooks: list[Any] = []
        self.watch = Watch()
        self.locked_seconds = 0.0

    def make(self) -> None:
        """Do it all, or nothing. Raises ``BusyError`` where another attempt may succeed."""
        run, worker = self._task.run, self._task.worker
        self._sequences = sequences.standing(self._task.session)
        with run.stop.guarded(self._may_stop, lambda: cancel(worker)):
            try:
                self._work()
            except BaseException as error:
                self._lost = migration_session.is_lost(worker)
                migration_session.discard(worker)
                if not self._committing:
                    if isinstance(error, NotUndone) or self._is_kept():
                        raise errors.kept(self._running, self.names) from error
                    self._bring_back_sequences()
                    self._stop_if_asked()
                    raise self._failure(error) from error
                self._ask_what_became_of_it(error)
            finally:
                self.locked_seconds = time.monotonic() - (self._felt or time.monotonic())
            if run.stop.pending:
                run.console.say("the signal came too late: all migrations are applied")
            _run_hooks(run, worker, self._hooks)  # also then: nobody else would

    def forget_modules(self) -> None:
        """The next attempt loads them anew: what one has used up (a generator) would be empty."""
        for name in self._modules:
            sys.modules.pop(name, None)

    def begins(self, name: Name, migration: Any) -> None:
        """Called before each migration."""
        self._task.run.stop.check()
        self._require_lock()
        self._running = name
        self._first_error = None
        self._file = type(migration).__module__
        self._modules.add(self._file)
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
        migration_session.begin(task.run, worker)
        pause = task.run.config.policies.lock_timeout_ms / 1000 / LOOKS_PER_WAIT
        with worker.execute_wrapper(self._listen), atomic(using=DEFAULT_DB_ALIAS):
            self._which = identity(worker)
            with (
                table_locks.watching(task.session, self._which.pid, pause) as self.watch,
                nobody_else_ends_it(worker),
            ):
                self._change()
            self._hooks, worker.run_on_commit = worker.run_on_commit, []
            self._committing = True  # from here on a signal waits for the answer

    def _change(self) -> None:
        """Everything between BEGIN and COMMIT."""
        task, worker = self._task, self._task.worker
        effects = row_counts.RowEffects(worker)
        effects.baseline()
        known = task.rehearsed.locks if task.rehearsed else ()
        timeout = task.run.config.policies.lock_timeout_ms
        self._felt = table_locks.take(worker, (*known, *self._first_locks), timeout)
        if task.rehearsed is None:
            self._felt = time.monotonic()  # which locks it will take, nobody knows
        run_pending(worker, self)
        self._require_same_transaction()
        self._require_lock()
        rows(worker, CHECK_CONSTRAINTS)
        if task.rehearsed is not None:
            require_same_schema(worker, task.rehearsed.after, catalogue.read(worker))
            if task.compare_rows:
                self._compare_rows(task.rehearsed, effects.read())
        migration_session.remove_mark(worker)
        task.inside(worker)
        self._require_same_transaction()
        self._require_lock()

    def _compare_rows(self, rehearsed: Trace, actual: tuple[Effect, ...]) -> None:
        if self._task.no_more_deleted:
            require_no_more_deleted(rehearsed.effects, actual)
        require_same_rows(rehearsed.effects, actual, self._by_site())

    def _by_site(self) -> int:
        """How many rows were changed since the copy; our own count once they are committed."""
        was = self._task.changes
        return 0 if was is None else max(0, row_counts.changes(self._task.session) - was)

    def _may_stop(self) -> bool:
        return self._task.worker.in_atomic_block and not self._committing

    def _listen(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        """Remember the error that made the transaction useless: later ones do not tell."""
        self._set_sequences = self._set_sequences or "setval" in str(sql).lower()
        try:
            return execute(sql, params, many, context)
        except Exception as error:
            if sqlstate(error) != sqlstates.IN_FAILED_SQL_TRANSACTION:
                self._first_error = error
            raise

    def _require_lock(self) -> None:
        if not advisory_lock.is_held(self._task.session):
            raise advisory_lock.LockLostError

    def _require_same_transaction(self) -> None:
        """Nothing ended our transaction, and Django will not roll it back in silence."""
        worker = self._task.worker
        if worker.needs_rollback or worker.closed_in_transaction:
            raise self._first_error or errors.broken(self._running, self.names)
        if identity(worker) != self._which:
            raise errors.kept(self._running, self.names)

    def _is_kept(self) -> bool:
        """Whether the transaction was committed although we never did it."""
        if self._which is None:
            return False
        if self._lost:
            # A crashed server can use its number again, so that it takes a record to believe it.
            self._became = commit_status(self._task.run, self._which, self._is_recorded)
            return self._became is CommitStatus.COMMITTED and bool(self.names)
        try:
            return status(self._task.session, self._which) == "committed"
        except (DatabaseError, InterfaceError):
            return False

    def _stop_if_asked(self) -> None:
        """A statement that was cancelled because of a signal is an error to Django, not to us."""
        run = self._task.run
        if run.stop.pending:
            run.console.say("stopped: everything is rolled back")
            run.stop.check()

    def _bring_back_sequences(self) -> None:
        """Also if our own session is gone."""
        run = self._task.run
        with observer(self._task.session, f"postdo {run.config.host}") as session:
            try:
                if session is not None:
                    sequences.bring_back(session, self._sequences)
                    return
            except (DatabaseError, InterfaceError):
                pass
        if self._set_sequences:
            run.console.warn(
                "the rollback did not restore a sequence that a migration set, and the database "
                "does not answer. When it answers again, see which sequences are behind: "
                f"{run.config.postdo('plan')}"
            )

    def _failure(self, error: BaseException) -> Exception:
        found = errors.failed(self._cause(error), self._running, self.names, self._file)
        return errors.unanswered(found) if self._became is CommitStatus.UNKNOWN else found

    def _cause(self, error: BaseException) -> BaseException:
        """The first error: a statement after one that failed says nothing about the cause."""
        aborted = sqlstate(error) == sqlstates.IN_FAILED_SQL_TRANSACTION
        silent = aborted or isinstance(error, TransactionManagementError)
        return self._first_error if silent and self._first_error else error

    def _is_recorded(self, session: BaseDatabaseWrapper) -> bool:
        names = [dotted((name,)) for name in self.names]
        return not names or bool(rows(session, ALL_RECORDED, len(names), names)[0][0])

    def _ask_what_became_of_it(self, error: BaseException) -> None:
        assert self._which is not None  # noqa: S101  there is no COMMIT without
        became = commit_status(self._task.run, self._which, self._is_recorded)
        if became is CommitStatus.UNKNOWN:
            raise errors.unknown(error, self._which, self.names) from error
        if became is CommitStatus.ABORTED:
            self._bring_back_sequences()
            found = errors.not_committed(error)
            if not isinstance(found, BusyError):
                self._stop_if_asked()
            raise found from error
        self._task.run.console.say(
            "the answer to COMMIT was lost, but the server confirms that it committed"
        )


def _run_hooks(run: Run, worker: BaseDatabaseWrapper, hooks: list[Any]) -> None:
    """What migrations left for after the COMMIT. Nothing can be undone any more."""
    worker.run_on_commit = hooks
    try:
        worker.run_and_clear_commit_hooks()
    except (Exception, SystemExit) as error:  # noqa: BLE001  any code of the project
        run.console.warn(
            "all migrations are applied, but a function that one of them registered with "
            f"on_commit failed at {where(error) or 'an unknown place'}: {one_line(error)}"
        )
