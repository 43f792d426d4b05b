"""Give a database another name, and its own name to a copy, in one transaction.

``ALTER DATABASE x RENAME`` can run in a transaction, from a session in a third database
(``postgres`` or ``template1``). So one COMMIT decides over both renames. The difficulty is that
PostgreSQL renames only a database without sessions, and that nobody may write to the old database
after the copy was made. The order of steps solves both:

1. RENAME is sent. It locks the name, so that new sessions have to wait, and then waits up to 5
   seconds for the existing sessions to leave.
2. Meanwhile all other sessions are terminated, except for our own, which still block writes.
3. When only ours are left, the caller takes a last look (``last_look``), and ours are closed.
4. The first rename succeeds. The copy is renamed, and COMMIT is sent.

If the answer to COMMIT is lost, a new connection looks which database has the name now. If nobody
can say that within ``DOUBT_SECONDS``, ``NotUndone`` is raised.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base import advisory_lock, sqlstates
from postdo.base.console import Stopwatch
from postdo.base.context import Run
from postdo.base.database import PID, closing, rows, sqlstate, target
from postdo.base.errors import NotUndone, Refused, Undone, one_line
from postdo.base.formatting import identifier
from postdo.copy.scratch import connect_to
from postdo.executor.commit_status import TERMINATE, Identity, identity
from postdo.swap.write_lock import NOTICE_LOSS

MAINTENANCE = ("postgres", "template1")  # the databases that every PostgreSQL server has
LOOK_SECONDS = 0.02  # between two looks at who is still there
# RENAME itself gives up after 5 s (CountOtherDBBackends, PostgreSQL 14 to 18); then once more.
ATTEMPTS = 3
IN_USE = frozenset({sqlstates.OBJECT_IN_USE, sqlstates.LOCK_NOT_AVAILABLE})
LOCK_TIMEOUT_MS = 5_000  # as long as RENAME itself waits: new sessions queue up behind it
DOUBT_SECONDS = 60.0  # for a server that crashed in the commit to come back and tell

# oid of a database by name. PostgreSQL 14 to 18.
OID = "SELECT oid FROM pg_database WHERE datname = %s"
# Name of a database by oid. PostgreSQL 14 to 18.
NAME = "SELECT datname FROM pg_database WHERE oid = %s"
RENAME = "SELECT format('ALTER DATABASE %%I RENAME TO %%I', %s::text, %s::text)"
# Whether a session has got the lock that keeps new sessions out of a database. 14 to 18.
CLOSED = """
SELECT count(*) > 0 FROM pg_locks
WHERE locktype = 'object' AND classid = 'pg_database'::regclass AND objid = %s
  AND mode = 'AccessExclusiveLock' AND granted AND pid = %s
"""
# How many others are still connected, each of them told to end. A process of the server itself
# (autovacuum) has no user, and RENAME deals with it. PostgreSQL 14 to 18.
END_OTHERS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datid = %s AND usesysid IS NOT NULL AND NOT pid = ANY(%s)
"""


@dataclass
class DatabaseRename:
    """The exchange of two databases' names.

    - ``current``: name of the database in use. ``copy``: of the one that takes its place.
      ``aside``: the name that ``current`` gets.
    - ``watch``: measures since when nobody can write. ``waited``: for how long nobody could, in
      seconds, once the names are exchanged; from then on nothing undoes it.
    """

    run: Run
    current: str
    copy: str
    aside: str
    watch: Stopwatch
    waited: float | None = None

    def make(self, mine: tuple[BaseDatabaseWrapper, ...], last_look: Callable[[], None]) -> None:
        """Exchange the names. ``mine``: sessions on ``current`` that must be the last ones there.

        ``last_look`` is called when only ``mine`` are left, and may raise; then ``mine`` are
        closed. Raises ``Undone`` if the names were not exchanged, and ``NotUndone`` if the server
        cannot be asked.
        """
        pids = [rows(session, PID)[0][0] for session in mine]
        said = ""
        for _ in range(ATTEMPTS):
            with maintenance(self.run, self.current) as (ours, observer):
                rename = _Statement(ours, _rename(observer, self.current, self.aside))
                try:
                    if not self._wait_until_alone(observer, pids, rename):
                        said = rename.said_that_it_is_in_use()
                        continue
                    last_look()
                    _close(mine)
                    rename.result()
                    rows(ours, _rename(observer, self.copy, self.current))
                except (DatabaseError, InterfaceError) as error:
                    raise self._undone(one_line(error)) from error
                finally:
                    # Without the commit nothing of it lasts, so it may end in any way.
                    rename.cancel()
                self._commit(ours, observer)
                self.waited = self.watch.seconds
                return
        reason = f"other sessions stayed connected: {said}"
        raise self._undone(reason, "try again when fewer sessions are connected")

    def _commit(self, ours: BaseDatabaseWrapper, observer: BaseDatabaseWrapper) -> None:
        which = identity(ours)
        ((copy_oid,),) = rows(observer, OID, self.copy)
        try:
            rows(ours, "COMMIT")
        except Exception as error:
            if not self._came_about(which, copy_oid):
                raise self._undone(one_line(error)) from error

    def _wait_until_alone(
        self,
        observer: BaseDatabaseWrapper,
        pids: list[int],
        rename: _Statement,
    ) -> bool:
        """Whether all others left before RENAME gave up; they are told to."""
        ((oid,),) = rows(observer, OID, self.current)
        while rename.running:
            closed = rows(observer, CLOSED, oid, rename.pid)[0][0]
            others = rows(observer, END_OTHERS, oid, pids)[0][0]
            if closed and not others:
                return True
            time.sleep(LOOK_SECONDS)
        return False

    def _came_about(self, which: Identity, copy_oid: int) -> bool:
        """Whether a commit was made whose answer was lost: yes, or no when its session is gone."""
        end = time.monotonic() + DOUBT_SECONDS
        while time.monotonic() < end:
            with (
                suppress(Exception),  # whatever it is, it is no answer
                maintenance(self.run, self.current) as (observer, _),
            ):
                lived = rows(observer, TERMINATE, which.pid, which.began)
                came_about = rows(observer, NAME, copy_oid) == [(self.current,)]
                if came_about or not lived:
                    return came_about
            time.sleep(LOOK_SECONDS)
        raise NotUndone(
            f"the server did not confirm that database {self.current} was replaced",
            f"list the databases with {self.run.config.psql} -l: if {self.aside} exists, the swap "
            "is complete",
        )

    def _undone(self, reason: str, next_step: str = "fix the cause and try again") -> Undone:
        return Undone(
            f"database {self.current} could not be replaced: {reason}",
            f"{next_step}; the database is unchanged",
        )


@contextmanager
def maintenance(
    run: Run, current: str
) -> Iterator[tuple[BaseDatabaseWrapper, BaseDatabaseWrapper]]:
    """Yield two sessions on a database of the same server that is not ``current``.

    Raises ``Refused`` if this role may connect to none.
    """
    with ExitStack() as stack:
        failure: Exception | None = None
        for name in MAINTENANCE:
            if name == current:
                continue
            try:
                first, second = (
                    stack.enter_context(
                        closing(connect_to(name, f"postdo {run.config.host}", run.config.creator))
                    )
                    for _ in range(2)
                )
            except (DatabaseError, InterfaceError) as error:
                failure = error
                continue
            for session in (first, second):
                rows(session, advisory_lock.STAY)
                rows(session, NOTICE_LOSS)
            yield first, second
            return
        who = run.config.creator.user if run.config.creator else target().user
        raise Refused(
            f"this role can connect to neither of {', '.join(MAINTENANCE)}: "
            f"{one_line(failure) if failure else 'both are in use'}",
            "let the role connect to one of them, from which databases are renamed; as a "
            f"superuser: GRANT CONNECT ON DATABASE postgres TO {identifier(who)}",
        )


class _Statement:
    """A statement in a transaction of its session, under way in a thread."""

    def __init__(self, session: BaseDatabaseWrapper, sql: str) -> None:
        self._session = session
        self._error: BaseException | None = None
        ((self.pid,),) = rows(session, PID)
        rows(session, "BEGIN")
        rows(session, f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
        self._thread = threading.Thread(target=self._run, args=(sql,), daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> None:
        """Wait for its end. Raises what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def said_that_it_is_in_use(self) -> str:
        """Its error in one line, and what goes with it. Raises one that waiting cannot help."""
        try:
            self.result()
        except DatabaseError as error:
            if sqlstate(error) not in IN_USE:
                raise
            details = (line for line in str(error).splitlines() if line.startswith("DETAIL:"))
            return " ".join((one_line(error), *details))
        return "they reconnected again and again"

    def cancel(self) -> None:
        """End it, if it has not ended."""
        connection: Any = self._session.connection
        while self._thread.is_alive():
            with suppress(Exception):  # the driver decides what can go wrong; tried again
                connection.cancel()
            self._thread.join(LOOK_SECONDS)

    def _run(self, sql: str) -> None:
        try:
            rows(self._session, sql)
        except Exception as error:  # noqa: BLE001  handed to who waits for it
            self._error = error


def _rename(session: BaseDatabaseWrapper, old: str, new: str) -> str:
    ((statement,),) = rows(session, RENAME, old, new)
    return str(statement)


def _close(sessions: tuple[BaseDatabaseWrapper, ...]) -> None:
    """By the driver, so that whoever asks one of them later gets an error of the database."""
    for session in sessions:
        connection: Any = session.connection
        connection.close()
