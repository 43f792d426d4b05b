"""Block writes to all tables of a database while reads continue.

One session takes an EXCLUSIVE lock on each table, in one transaction that stays open. EXCLUSIVE
conflicts with every lock that a write takes, and not with the ACCESS SHARE lock of a SELECT or of
pg_dump. When the session ends, for whatever reason, PostgreSQL releases the locks and writes
continue.

A statement that needs ACCESS EXCLUSIVE (an ALTER TABLE, for example) would wait behind these locks,
and all readers would wait behind it. A thread looks for such statements every ``LOOK_SECONDS`` and
cancels them; where the role may not do that, it gives up the locks.

Table locks do not cover everything. Sequences can advance: ``moved_sequences`` returns those that
did. Objects can be created or changed: ``disturbed`` notices that. Large objects can be written, so
a database that has any is refused. NOTIFY is not blocked. A materialized view can be refreshed, but
its rows come from tables that cannot change.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base import sqlstates
from postdo.base.console import Stopwatch
from postdo.base.context import Run
from postdo.base.database import PID, closing, connect, rows, sqlstate
from postdo.base.errors import Refused, Undone
from postdo.base.formatting import table

CONNECT_SECONDS = 10.0
LOOK_SECONDS = 0.2  # between two looks at who would keep readers waiting
PAUSE_SECONDS = 1.0  # between two attempts: the writers that waited get their turn
# The table may have been dropped between reading and locking.
TRY_AGAIN = sqlstates.LOCK_CONFLICTS | {sqlstates.UNDEFINED_TABLE}

# No timeout may end this session while it holds the locks. PostgreSQL 14 to 18.
STAY = """
SELECT set_config(name, '0', false) FROM pg_settings
WHERE name IN ('idle_in_transaction_session_timeout', 'idle_session_timeout',
               'statement_timeout', 'transaction_timeout')
"""
# The server gives up a client whose machine is gone after 25 s, not after two hours: writers wait
# for it. Nothing on a local socket. PostgreSQL 14 to 18.
NOTICE_LOSS = """
SELECT set_config('tcp_keepalives_idle', '10', false),
       set_config('tcp_keepalives_interval', '5', false),
       set_config('tcp_keepalives_count', '3', false)
"""
# Whatever the role's defaults are: ``disturbed`` has to see what others have committed.
BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
# Every table with rows, partitions by their root: name to lock it by, whether this role may, and
# whether an extension owns it. In the order of creation, so that two never deadlock. 14 to 18.
TABLES = """
SELECT format('%I.%I', n.nspname, c.relname),
       has_schema_privilege(n.oid, 'USAGE')
       AND has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE'),
       EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
               AND d.objid = c.oid AND d.deptype = 'e')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'postdo_journal')
ORDER BY c.oid
"""
# Whether there are large objects. Reading one takes the same lock as writing, so that none lets
# pg_dump in and keeps writers out. PostgreSQL 14 to 18.
LARGE_OBJECTS = "SELECT EXISTS (SELECT FROM pg_largeobject_metadata)"
# One value that changes with every new, changed or dropped object that a table lock does not
# protect. Temporary ones and materialised views do not count. PostgreSQL 14 to 18.
DEFINITIONS = """
WITH lasting AS (SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)'
                AND nspname <> 'postdo_journal')
SELECT md5(coalesce(string_agg(mark, ',' ORDER BY mark), '')) FROM (
  SELECT 'relation ' || oid || ' ' || xmin AS mark FROM pg_class
  WHERE relkind IN ('r', 'p', 'v', 'f', 'c', 'S') AND relpersistence <> 't'
    AND relnamespace IN (SELECT oid FROM lasting)
  UNION ALL SELECT 'type ' || oid || ' ' || xmin FROM pg_type
  WHERE typnamespace IN (SELECT oid FROM lasting)
  UNION ALL SELECT 'schema ' || oid || ' ' || xmin FROM pg_namespace
  WHERE oid IN (SELECT oid FROM lasting)
  UNION ALL SELECT 'function ' || oid || ' ' || xmin FROM pg_proc
  WHERE pronamespace IN (SELECT oid FROM lasting)
  UNION ALL SELECT 'label ' || oid || ' ' || xmin FROM pg_enum
  UNION ALL SELECT 'large object ' || oid || ' ' || xmin FROM pg_largeobject_metadata
) AS marks
"""
# Name and last value (NULL: never used, or not ours to read) of every sequence. 14 to 18.
SEQUENCES = "SELECT format('%I.%I', schemaname, sequencename), last_value FROM pg_sequences"
# The oldest transactions of others in this database: pid, name, seconds. PostgreSQL 14 to 18.
OLDEST = """
SELECT pid, coalesce(application_name, ''), extract(epoch FROM now() - xact_start)::int
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
ORDER BY xact_start LIMIT 3
"""
# Who waits for ACCESS EXCLUSIVE behind a session: readers, and pg_dump, would queue up behind it in
# their turn. pid, role. PostgreSQL 14 to 18.
IN_THE_WAY = """
SELECT l.pid, coalesce(a.usename, 'the server itself')
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE NOT l.granted AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND %s = ANY(pg_blocking_pids(l.pid))
"""
CANCEL = "SELECT pg_cancel_backend(%s)"
# Ends this role's own sessions on this database that have one of these names. PostgreSQL 14 to 18.
END_OURS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = session_user AND pid <> pg_backend_pid()
  AND application_name = ANY(SELECT left(name, 63) FROM unnest(%s::text[]) name)
"""


@dataclass(frozen=True)
class WriteLock:
    """Locks that are held in an open transaction of ``session``.

    ``watch``: since they were requested.

    ``definitions`` and ``sequences``: as they were when the last lock was granted. ``given_up``:
    why the locks were released early, if they were.
    """

    session: BaseDatabaseWrapper
    watch: Stopwatch
    definitions: str
    sequences: Mapping[str, int | None]
    given_up: Sequence[str]

    def disturbed(self) -> str:
        """Why a copy that was begun since may miss something; empty if it does not.

        The session cannot lose its locks and still answer, because it never reconnects.
        """
        try:
            ((now,),) = rows(self.session, DEFINITIONS)
        except (DatabaseError, InterfaceError):
            return next(iter(self.given_up), "the session that blocked writes ended")
        return "" if now == self.definitions else "another session changed the schema"

    def moved_sequences(self) -> dict[str, int]:
        """Sequences that gave out numbers since, with their last number."""
        return {
            name: value
            for name, value in _sequences(self.session).items()
            if value is not None and value != self.sequences.get(name)
        }


def tables(session: BaseDatabaseWrapper) -> tuple[str, ...]:
    """The tables to lock. Raises ``Refused`` if this role cannot keep all writers away."""
    found = rows(session, TABLES)
    # An extension's own rows are not dumped, or are set-up data; its owner is often the superuser.
    closed = tuple(name for name, may, extension in found if not (may or extension))
    if closed:
        raise Refused(
            f"this role may not lock {_shown(closed)}, so others could write to it during the swap",
            "make the migrating role the owner of all tables, or migrate as their owner",
        )
    ((large_objects,),) = rows(session, LARGE_OBJECTS)
    if large_objects:
        raise Refused(
            "the database has large objects, and no lock prevents writes to them while they are "
            "copied",
            "change the migrations so that they run in one transaction",
        )
    return tuple(name for name, may, _ in found if may)


@contextmanager
def write_lock(run: Run) -> Iterator[WriteLock]:
    """Keep everybody from writing to the project's database inside the block; reads continue.

    It has a session of its own. Raises ``Refused`` as ``tables`` does, and ``Undone`` if the locks
    are not granted within the time that the policies give.
    """
    session = connect(_name(run), CONNECT_SECONDS)
    with closing(session):
        rows(session, STAY)
        rows(session, NOTICE_LOSS)
        watch = _lock_all(run, session)
        with _readers_go_on(run, rows(session, PID)[0][0]) as given_up:
            ((definitions,),) = rows(session, DEFINITIONS)
            yield WriteLock(session, watch, definitions, _sequences(session), given_up)


@contextmanager
def _readers_go_on(run: Run, pid: int) -> Iterator[Sequence[str]]:
    """Inside, nobody queues for ACCESS EXCLUSIVE behind the session ``pid``, which has the locks.

    Readers come first: for somebody who may not be cancelled, the locks are given up, and pg_dump
    with them. Yields a list that says why, from then on.
    """
    session = connect(f"postdo {run.config.host} readers", CONNECT_SECONDS)
    ended = threading.Event()
    given_up: list[str] = []

    def make_way() -> bool:
        for other, role in rows(session, IN_THE_WAY, pid):
            try:
                rows(session, CANCEL, other)
            except DatabaseError as error:
                if sqlstate(error) == sqlstates.INSUFFICIENT_PRIVILEGE:
                    given_up[:] = [
                        f"{role} (pid {other}) requested an exclusive table lock, which would "
                        "block readers, and this role may not cancel the request"
                    ]
                    rows(session, END_OURS, [_name(run), f"postdo copy {run.config.host}"])
                    run.console.warn(f"writes continue: {given_up[0]}")
                    return False
            else:
                run.console.say(f"cancelled a statement (pid {other}) that blocked readers")
        return True

    def watch() -> None:
        going_on = True
        while going_on and not ended.wait(LOOK_SECONDS):
            # It is ended as everybody else when databases change places, and nobody waits by then.
            with suppress(DatabaseError, InterfaceError):
                going_on = make_way()

    thread = threading.Thread(target=watch, daemon=True)
    with closing(session):
        rows(session, STAY)
        thread.start()
        try:
            yield given_up
        finally:
            ended.set()
            thread.join()


def _name(run: Run) -> str:
    return f"postdo {run.config.host} standstill"


def _lock_all(run: Run, session: BaseDatabaseWrapper) -> Stopwatch:
    """Lock all tables, or none; the whole is tried again. Returns the time since the success."""
    whole = Stopwatch()
    while True:
        watch = Stopwatch()
        try:
            if _try_to_lock(run, session):
                return watch
        except DatabaseError as error:
            if sqlstate(error) not in TRY_AGAIN:
                raise
        rows(session, "ROLLBACK")
        if whole.seconds > run.config.policies.lock_retry_seconds:
            raise Undone(
                f"the tables were in use for {whole}, so writes could not be blocked",
                "end the long transactions or raise LOCK_RETRY_SECONDS, then try again",
                details=_oldest(session),
            )
        time.sleep(PAUSE_SECONDS)


def _try_to_lock(run: Run, session: BaseDatabaseWrapper) -> bool:
    names = tables(session)
    rows(session, BEGIN)
    rows(session, f"SET LOCAL lock_timeout = {run.config.policies.lock_timeout_ms}")
    if names:
        rows(session, f"LOCK TABLE {', '.join(names)} IN EXCLUSIVE MODE")
    # A table can be made between the two.
    return tables(session) == names


def _oldest(session: BaseDatabaseWrapper) -> tuple[str, ...]:
    return tuple(
        f"{name or 'unnamed session'} (pid {pid}): in a transaction for {seconds} s"
        for pid, name, seconds in rows(session, OLDEST)
    )


def _sequences(session: BaseDatabaseWrapper) -> dict[str, int | None]:
    return dict(rows(session, SEQUENCES))


def _shown(names: tuple[str, ...]) -> str:
    return ", ".join(table(name) for name in names)
