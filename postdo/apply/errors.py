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
    "the database does not answer; COMMIT was never sent, so that PostgreSQL takes all of it back "
    "as soon as it runs"
)


def culprit(running: Name | None, done: list[Name]) -> str:
    """What was under way: a migration, what comes after the last one, or what comes before."""
    if running is not None:
        return dotted((running,))
    return "after the last migration" if done else "migrate"


def is_busy(error: BaseException) -> bool:
    """Whether another attempt may succeed, by what the database said in it or in its causes."""
    return not BUSY.isdisjoint(_states(error))


def failed(error: BaseException, running: Name | None, done: list[Name], file: str) -> Exception:
    """The error to raise for one that ended an attempt, of which nothing stays.

    ``file``: the migration's module, where the error itself tells no place. ``BusyError`` where
    another attempt may succeed.
    """
    if isinstance(error, PostdoError):
        return error
    if isinstance(error, advisory_lock.LockLostError):
        what = "the session that held the lock was lost, so another process may have begun"
        return Undone(what, "start again", details=(AS_BEFORE,))
    who = culprit(running, done)
    if is_busy(error):
        return BusyError(f"{who}: {one_line(error)}")
    place = where(error) or file
    details = [f"in {place}"] if place else []
    details += [line for line in str(error).splitlines() if line.startswith("DETAIL:")]
    if isinstance(error, SystemExit):
        error = SystemExit(f"it ended the process with code {error.code}")
    return Undone(
        f"{who}: {one_line(error)}",
        f"correct {who} or the data that it meets, and start again"
        if running
        else "correct the cause and start again",
        details=(*details, AS_BEFORE),
    )


def unanswered(error: Exception) -> Exception:
    """The same, where the server cannot say yet that all is as before."""
    if isinstance(error, Undone):
        details = tuple(NO_ANSWER if line == AS_BEFORE else line for line in error.details)
        return Undone(error.what, error.next_step, details=details)
    return error


def broken(running: Name | None, done: list[Name]) -> Undone:
    """Something made the transaction useless, and went on."""
    return Undone(
        f"{culprit(running, done)}: it broke the transaction, or the connection, and went on",
        "let the migration raise its errors, and start again",
        details=(AS_BEFORE,),
    )


def kept(running: Name | None, done: list[Name]) -> NotUndone:
    """A migration committed by the driver itself, where nobody can refuse it."""
    under_way = (running,) if running else ()
    return NotUndone(
        f"{culprit(running, done)}: it ended the transaction past Django, by the driver itself",
        "look at what it did until then, take that back by hand, and correct it",
        details=(
            f"kept, as far as it had come: {dotted((*done, *under_way))}",
            "not kept: what came after that",
        ),
    )


def not_committed(error: BaseException) -> Exception:
    """The server says that the COMMIT was not carried out."""
    if is_busy(error):
        return BusyError(f"COMMIT: {one_line(error)}")
    return Undone(f"COMMIT failed: {one_line(error)}", "start again", details=(AS_BEFORE,))


def unknown(error: BaseException, which: Identity, done: list[Name]) -> NotUndone:
    """Nobody can say what became of the COMMIT."""
    return NotUndone(
        f"the answer to COMMIT was lost, and the server does not say more: {one_line(error)}",
        f"when the database is back, ask it: {which.question}; and start again, which is right in "
        "both cases",
        details=(
            "committed: all of it is applied; aborted: nothing is; a part is impossible",
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
