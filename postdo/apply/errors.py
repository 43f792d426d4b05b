"""What a failure of the one transaction means, in words for a person and as the error to raise."""

from __future__ import annotations

from postdo.apply.lock_timeout import BusyError
from postdo.base import advisory_lock, sqlstates
from postdo.base.database import sqlstate
from postdo.base.errors import NotUndone, PostdoError, Undone, one_line
from postdo.base.project import where
from postdo.django_migrations.history import Name, dotted
from postdo.executor.commit_status import Identity
from postdo.rehearsal.verify import AS_BEFORE

BUSY = sqlstates.LOCK_CONFLICTS | {sqlstates.SERIALIZATION_FAILURE}
NO_ANSWER = (
    "the database does not answer; COMMIT was never sent, so PostgreSQL rolls everything back "
    "when it restarts"
)


def culprit(running: Name | None, done: list[Name]) -> str:
    """What was running: a migration, what follows the last one, or what precedes the first."""
    if running is not None:
        return dotted((running,))
    return "after the last migration" if done else "migrate"


def is_busy(error: BaseException) -> bool:
    """Whether another attempt may succeed, by the SQLSTATE of the error or of its causes."""
    return not BUSY.isdisjoint(_states(error))


def failed(error: BaseException, running: Name | None, done: list[Name], file: str) -> Exception:
    """The error to raise for one that ended an attempt of which nothing stays.

    ``file``: the migration's module, for an error that names no place. ``BusyError`` if another
    attempt may succeed.
    """
    if isinstance(error, PostdoError):
        return error
    if isinstance(error, advisory_lock.LockLostError):
        what = "postdo lost its lock (the session ended), so another process may have started"
        return Undone(what, "try again", details=(AS_BEFORE,))
    who = culprit(running, done)
    if is_busy(error):
        return BusyError(f"{who}: {one_line(error)}")
    place = where(error) or file
    details = [f"in {place}"] if place else []
    details += [line for line in str(error).splitlines() if line.startswith("DETAIL:")]
    if isinstance(error, SystemExit):
        error = SystemExit(f"it exited the process with code {error.code}")
    return Undone(
        f"{who}: {one_line(error)}",
        f"fix {who}, or the rows on which it fails, and try again"
        if running
        else "fix the cause and try again",
        details=(*details, AS_BEFORE),
    )


def unanswered(error: Exception) -> Exception:
    """The error for a failure after which the server cannot confirm that nothing has changed."""
    if isinstance(error, Undone):
        details = tuple(NO_ANSWER if line == AS_BEFORE else line for line in error.details)
        return Undone(error.what, error.next_step, details=details)
    return error


def broken(running: Name | None, done: list[Name]) -> Undone:
    """The error for a transaction that something has aborted unnoticed."""
    return Undone(
        f"{culprit(running, done)} broke the transaction or the connection without raising an "
        "error",
        "do not catch database errors in the migration, and try again",
        details=(AS_BEFORE,),
    )


def kept(running: Name | None, done: list[Name]) -> NotUndone:
    """The error for a migration that committed by the driver itself, which nothing prevents."""
    under_way = (running,) if running else ()
    return NotUndone(
        f"{culprit(running, done)} committed on the raw database connection, past Django's "
        "transaction",
        "undo by hand what it changed until that COMMIT, fix the migration and try again",
        details=(
            f"stays applied, up to that COMMIT: {dotted((*done, *under_way))}",
            "rolled back: everything after that COMMIT",
        ),
    )


def not_committed(error: BaseException) -> Exception:
    """The error for a COMMIT that the server did not carry out."""
    if is_busy(error):
        return BusyError(f"COMMIT: {one_line(error)}")
    return Undone(f"COMMIT failed: {one_line(error)}", "try again", details=(AS_BEFORE,))


def unknown(error: BaseException, which: Identity, done: list[Name]) -> NotUndone:
    """The error for a COMMIT of which nobody can say what became of it."""
    return NotUndone(
        "it is unknown whether the server carried out the COMMIT, because its answer was lost: "
        f"{one_line(error)}",
        f"when the database is back, run {which.question} and then try again, which is safe "
        "whatever it answers",
        details=(
            "committed means that all migrations are applied; aborted means that none is",
            f"migrations: {dotted(tuple(done)) or 'none'}",
        ),
    )


def _states(error: BaseException) -> set[str]:
    states: set[str] = set()
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        states.add(sqlstate(link) or "")
        link = link.__cause__ or link.__context__
    return states
