"""Let only one process work at a time: a PostgreSQL advisory lock on a session of its own.

The server releases the lock when the session ends, whatever happened to the process. There are two
keys, because a statement of a killed client continues on the server: the process that prepares the
database holds ``LOCK_KEY``, and the session that runs its migrations shares ``WORK_KEY``. Whoever
gets the first key still waits until nobody holds the second.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from django.db import DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.console import Stopwatch
from postdo.base.context import Run
from postdo.base.database import answers, rows
from postdo.base.retry import Backoff
from postdo.base.wait import wait

# The letters "postdo" as a number, then 0 and 1. Advisory locks belong to one database, so two
# projects on one server do not meet. docs/decisions/postdo-start.md has the numbers in decimal.
LOCK_KEY = int.from_bytes(b"postdo", "big") << 8
WORK_KEY = LOCK_KEY + 1

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.5  # how late the next one may start, seen from a deploy
REPEAT_SECONDS = 30.0  # between two lines about who is waited for

# Whether this session has got the lock now. PostgreSQL 14 to 18.
TRY_LOCK = "SELECT pg_try_advisory_lock(%s)"
UNLOCK = "SELECT pg_advisory_unlock(%s)"
# Taken by the session that migrates; shared, so that it never waits for another worker.
SHARE = "SELECT pg_advisory_lock_shared(%s)"
UNSHARE = "SELECT pg_advisory_unlock_shared(%s)"
# Whether this very session holds a key; a 64-bit key is split over classid and objid.
HOLDS = """
SELECT count(*) > 0 FROM pg_locks
WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted AND objsubid = 1
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND ((classid::bigint << 32) | objid::bigint) = %s
"""
# Who holds a key: pid, name of the session, when it began. Name and time can be NULL for the
# sessions of another role. PostgreSQL 14 to 18.
HOLDER = """
SELECT a.pid, a.application_name, a.backend_start
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND ((l.classid::bigint << 32) | l.objid::bigint) = %s
ORDER BY a.backend_start LIMIT 1
"""
# A server may end idle sessions (PostgreSQL 14 and newer), and this one is idle for long.
STAY = """
SELECT set_config(name, '0', false) FROM pg_settings
WHERE name IN ('idle_session_timeout', 'statement_timeout')
"""


class LockLostError(Exception):
    """The session that holds the lock is gone; another process may have started."""


@dataclass(frozen=True)
class Holder:
    """Another session that holds a key, for messages. ``since``: when it connected, if visible."""

    pid: int
    name: str
    since: datetime | None

    def __str__(self) -> str:
        since = f", connected since {self.since:%H:%M:%S %Z}" if self.since else ""
        return f"{self.name or 'unnamed session'} (pid {self.pid}{since})"


@contextmanager
def exclusive(run: Run, session: BaseDatabaseWrapper) -> Iterator[bool]:
    """Hold the lock inside the ``with`` block, so that no other ``postdo`` changes this database.

    Yields whether another process had to be waited for: if so, what was read before is out of date.

    Waits as long as the other session lives (no time-out: a migration may take hours) and prints
    whom it waits for. ``session`` must be in autocommit and keep no state: if it is lost while
    waiting (a swap ends all other sessions), it is connected again. Raises what ``wait`` raises if
    that fails.
    """
    waited = False
    while True:
        try:
            waited = _taken(run, session) or waited
            break
        except (DatabaseError, InterfaceError):
            if answers(session):
                raise
            waited = True
            _disconnect(run, session)
    try:
        yield waited
    finally:
        with suppress(DatabaseError, InterfaceError):
            rows(session, UNLOCK, LOCK_KEY)


@contextmanager
def working(session: BaseDatabaseWrapper) -> Iterator[None]:
    """Share the second key inside the block, in the session that runs the migrations.

    If this process is killed, its statement continues on the server and keeps the key, so the next
    process waits for it.
    """
    rows(session, SHARE, WORK_KEY)
    try:
        yield
    finally:
        with suppress(DatabaseError, InterfaceError):
            rows(session, UNSHARE, WORK_KEY)


def is_held(session: BaseDatabaseWrapper) -> bool:
    """Whether the session is alive and still holds the lock. Never raises."""
    try:
        ((held,),) = rows(session, HOLDS, LOCK_KEY)
    except (DatabaseError, InterfaceError):
        return False
    return bool(held)


def holder(session: BaseDatabaseWrapper, key: int) -> Holder | None:
    """The session that has held ``key`` longest, or ``None`` if the key is free."""
    found = rows(session, HOLDER, key)
    return Holder(pid=found[0][0], name=found[0][1] or "", since=found[0][2]) if found else None


def _taken(run: Run, session: BaseDatabaseWrapper) -> bool:
    session.ensure_connection()
    rows(session, STAY)
    waited = _acquire(run, session, LOCK_KEY)
    # Somebody killed may have left a statement running.
    waited = _acquire(run, session, WORK_KEY) or waited
    rows(session, UNLOCK, WORK_KEY)
    return waited


def _disconnect(run: Run, session: BaseDatabaseWrapper) -> None:
    """Nothing was begun, so nothing is lost but the session; Django's own may have ended with it.

    Returns when there can be another one.
    """
    run.console.say("the session ended while postdo waited for the lock; reconnecting")
    connections.close_all()
    with suppress(DatabaseError, InterfaceError):
        session.close()
    wait(run).close()


def _acquire(run: Run, session: BaseDatabaseWrapper, key: int) -> bool:
    watch = Stopwatch()
    backoff, said_at = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS), None
    while not rows(session, TRY_LOCK, key)[0][0]:
        if said_at is None or watch.seconds - said_at >= REPEAT_SECONDS:
            who = holder(session, key)
            if who is not None:
                run.console.say(f"another process holds the lock; waiting for {who}")
                said_at = watch.seconds
        backoff.sleep()
    if said_at is not None:
        run.console.say(f"the other process has ended; continuing after {watch}")
    return said_at is not None
