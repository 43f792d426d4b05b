"""Take the locks on the project's tables first, in a fixed order, and find out who blocks them.

A long wait for a strong lock is more harmful than the lock itself: every later query on the table
queues up behind the session that waits, even a SELECT. So the timeout is short, and a failed
attempt is repeated. The weakest lock that keeps autovacuum and other schema changes away (SHARE
UPDATE EXCLUSIVE) is taken on all tables first, with more patience: no query of a site has to wait
behind it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.database import rows
from postdo.base.formatting import table as shown
from postdo.rehearsal.trace import Lock

# Weak to strong; the manual's table 13.2, PostgreSQL 14 to 18.
MODES = (
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)
QUIET = "SHARE UPDATE EXCLUSIVE"  # the strongest that holds up neither readers nor writers
# A waiting session makes an ordinary autovacuum give way, but only after deadlock_timeout (1 s).
BEYOND_DEADLOCK_MS = 500
LONGEST_QUIET_MS = 10_000  # should somebody have set deadlock_timeout to minutes
QUERY_LENGTH = 80  # characters of a blocker's statement that are shown
SHORTEST_LOOK_SECONDS = 0.05  # between two looks at who blocks; a look takes about 1 ms

# Of the tables named (schema.table), those that can be locked: as named, and as SQL writes it.
# PostgreSQL 14 to 18; LOCK TABLE asks for one of these privileges.
LOCKABLE = """
SELECT n.nspname || '.' || c.relname, format('%%I.%%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'pg_catalog'
  AND n.nspname || '.' || c.relname = ANY(%s)
  AND has_schema_privilege(n.oid, 'USAGE')
  AND has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE')
"""
# After how many milliseconds of waiting a session looks for a deadlock. PostgreSQL 14 to 18.
DEADLOCK_MS = "SELECT setting::int FROM pg_settings WHERE name = 'deadlock_timeout'"
SET_TIMEOUT = "SELECT set_config('lock_timeout', %s, false)"
# Whom a session waits for, if it does: pid (0 for a prepared transaction), name, state, since when,
# its statement, and the table that is waited for. Of other roles' sessions only the pid may be
# visible, and that it is a VACUUM. What is waited for is looked at after the blockers: if the wait
# ended between the two, nothing is told. PostgreSQL 14 to 18.
BLOCKERS = """
SELECT other.pid, b.application_name, b.state, b.xact_start,
       coalesce(left(nullif(b.query, '<insufficient privilege>'), 200), ''),
       b.backend_type = 'autovacuum worker' OR v.pid IS NOT NULL,
       waited.for_table
FROM pg_stat_activity w
CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS other(pid)
CROSS JOIN LATERAL (
    SELECT CASE WHEN l.locktype IN ('relation', 'tuple') THEN n.nspname || '.' || c.relname END
    FROM pg_locks l
    LEFT JOIN pg_class c ON c.oid = l.relation LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE l.pid = w.pid AND NOT l.granted LIMIT 1
) AS waited(for_table)
LEFT JOIN pg_stat_activity b ON b.pid = other.pid
LEFT JOIN pg_stat_progress_vacuum v ON v.pid = other.pid
WHERE w.pid = %s AND w.wait_event_type = 'Lock'
ORDER BY b.xact_start
"""


@dataclass(frozen=True)
class Blocker:
    """A session that holds a lock that somebody waits for, or waits for it longer.

    - ``table``: with its schema, empty for the lock of a row. ``since``: when its transaction
      began.
    - ``vacuum``: whether it is a VACUUM, automatic or not.
    """

    pid: int
    name: str
    state: str
    since: datetime | None
    query: str
    vacuum: bool
    table: str

    def __str__(self) -> str:
        if self.pid == 0:
            return "a prepared transaction (see pg_prepared_xacts)"
        unnamed = "unnamed session" if self.state else "session of another role"
        who = self.name or ("VACUUM" if self.vacuum else unnamed)
        since = f" since {self.since:%H:%M:%S %Z}" if self.since else ""
        facts = ", ".join(filter(None, (f"pid {self.pid}", f"{self.state}{since}".strip())))
        query = " ".join(self.query.split())[:QUERY_LENGTH]
        return f"{who} ({facts})" + (f": {query}" if query else "")

    @property
    def place(self) -> str:
        """What is waited for, for a message."""
        return shown(self.table) or "a row"

    @property
    def remedy(self) -> str:
        """What a person can do about this session."""
        if self.pid == 0:
            return (
                "end the prepared transaction with COMMIT PREPARED or ROLLBACK PREPARED (its "
                "name is in pg_prepared_xacts), then try again"
            )
        if self.vacuum and "wraparound" in self.query:
            return (
                "wait until that VACUUM ends (PostgreSQL needs it to prevent wraparound), then "
                "try again"
            )
        return f"let it finish, or end it: SELECT pg_terminate_backend({self.pid}); then try again"


class Watch:
    """The blockers that were seen last; empty if there were none."""

    def __init__(self) -> None:
        self.blockers: tuple[Blocker, ...] = ()


def take(
    worker: BaseDatabaseWrapper, locks: tuple[Lock, ...], lock_timeout_ms: int
) -> float | None:
    """Take those of these locks that block somebody, in the order of the tables' names.

    Returns ``time.monotonic()`` of the first lock that the site can notice, ``None`` without one.
    From then on all of them together may take ``lock_timeout_ms``. Raises the database's errors:
    55P03 if a lock was not granted in time.
    """
    wanted = _wanted(worker, locks)
    if not wanted:
        return None
    ((deadlock_ms,),) = rows(worker, DEADLOCK_MS)
    patience = min(deadlock_ms + BEYOND_DEADLOCK_MS, LONGEST_QUIET_MS)
    _set_timeout(worker, max(patience, lock_timeout_ms))
    for table, _ in wanted:
        rows(worker, f"LOCK TABLE ONLY {table} IN {QUIET} MODE")
    felt = None
    for table, mode in wanted:
        if mode == QUIET:
            continue
        felt = felt or time.monotonic()
        spent = int((time.monotonic() - felt) * 1000)
        _set_timeout(worker, max(1, lock_timeout_ms - spent))
        rows(worker, f"LOCK TABLE ONLY {table} IN {mode} MODE")
    _set_timeout(worker, lock_timeout_ms)
    return felt


def against_vacuum(blockers: tuple[Blocker, ...]) -> tuple[Lock, ...]:
    """Locks to take first in the next attempt, so that a blocking autovacuum is cancelled."""
    return tuple(Lock(one.table, QUIET, 0.0) for one in blockers if one.vacuum and one.table)


@contextmanager
def watching(session: BaseDatabaseWrapper, pid: int, every_seconds: float) -> Iterator[Watch]:
    """Watch who blocks the session ``pid`` inside the block, in a thread and by ``session``."""
    watch = Watch()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(max(every_seconds, SHORTEST_LOOK_SECONDS)):
            try:
                found = blockers(session, pid)
            except Exception:  # noqa: BLE001  the session is gone; the others find that out too
                return
            watch.blockers = found or watch.blockers

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join(1.0)


def blockers(session: BaseDatabaseWrapper, pid: int) -> tuple[Blocker, ...]:
    """The sessions that ``pid`` waits for at this moment, the oldest transaction first."""
    return tuple(
        Blocker(found, name or "", state or "", since, query, bool(vacuum), table or "")
        for found, name, state, since, query, vacuum, table in rows(session, BLOCKERS, pid)
    )


def _wanted(worker: BaseDatabaseWrapper, locks: tuple[Lock, ...]) -> list[tuple[str, str]]:
    """Table as SQL writes it, and mode; in the order in which they are taken."""
    modes: dict[str, str] = {}
    for lock in locks:
        before = modes.get(lock.table, QUIET)
        if lock.mode in MODES and MODES.index(lock.mode) >= MODES.index(before):
            modes[lock.table] = lock.mode
    quoted = dict(rows(worker, LOCKABLE, list(modes))) if modes else {}
    return [(quoted[table], modes[table]) for table in sorted(quoted)]


def _set_timeout(worker: BaseDatabaseWrapper, milliseconds: int) -> None:
    rows(worker, SET_TIMEOUT, f"{milliseconds}ms")
