"""Find what on the database server would make the release fail, without changing anything there.

Each gate asks one question, and reports nothing if the role may not see the answer. Numbers are
rows of docs/hazards.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base import sqlstates
from postdo.base.context import Run
from postdo.base.database import message, rows, sqlstate
from postdo.base.formatting import MB, listed, megabytes
from postdo.base.formatting import table as shown
from postdo.checks.pooler import pooler_problem
from postdo.checks.server_queries import (
    BEHIND,
    CLOSED_SCHEMAS,
    DATABASE_COLLATION,
    LACKING,
    LOCK_TABLE,
    LOCK_TIMEOUT,
    NAMED_COLLATIONS,
    NOT_OURS,
    NUMBERED,
    OLD_TRANSACTIONS,
    PREPARED,
    SET_LOCK_TIMEOUT,
    SIZES,
    SLOTS,
    STANDBYS,
    WRAPAROUND,
)
from postdo.compatibility.constraints import rules
from postdo.plan.findings import Problem
from postdo.rehearsal.rehearse import Rehearsal
from postdo.rehearsal.trace import Trace

LOCK_SHARE = 0.8  # of the server's lock table; the site's own locks need the rest
ENOUGH_LOCKS = 256  # HAZARDS 47: 6,700 locks for a big project, 6,400 nominal by default
OLD_TRANSACTION_SECONDS = 10  # what is older does not end within a few retries
FAR_BEHIND_BYTES = 2**30  # 1 GB: a standby that is well has some MB
# Beside what the rehearsal wrote: what the site itself writes meanwhile, and full-page images
# after a checkpoint, which the rehearsal's copy had not.
DISK_MARGIN = 1.5
DISK_SPARE_MB = 256  # of WAL segments that PostgreSQL keeps in any case (max_wal_size is 1 GB)
# Permission denied, not in this state (a standby), not supported by this kind of server.
MAY_NOT_LOOK = frozenset(
    {
        sqlstates.INSUFFICIENT_PRIVILEGE,
        sqlstates.OBJECT_NOT_IN_PREREQUISITE_STATE,
        sqlstates.FEATURE_NOT_SUPPORTED,
    }
)
COLLATION_MAJOR = 15  # the first PostgreSQL that remembers a database's version of its collation
SHOWN = 5  # names in one line
SHORT_WAIT = "100ms"  # for a table that somebody has locked; unknown is better than late


@dataclass(frozen=True)
class _Scene:
    """What every gate is given. ``trace``: ``None`` without a successful rehearsal."""

    run: Run
    session: BaseDatabaseWrapper
    trace: Trace | None

    @property
    def major(self) -> int:
        connection: Any = self.session.connection
        return int(connection.info.server_version) // 10000

    @property
    def altered(self) -> list[str]:
        return list(self.trace.altered) if self.trace else []

    @property
    def rewritten(self) -> list[str]:
        steps = self.trace.steps if self.trace else ()
        return sorted({table for step in steps for table in step.rewrites})

    def ask(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """Rows; none where the role may not look, or the server is a kind that cannot say."""
        try:
            return rows(self.session, sql, *values)
        except DatabaseError as error:
            if sqlstate(error) not in MAY_NOT_LOOK:
                self.run.console.warn(f"a check of the database server failed: {message(error)}")
            return []


def server_problems(
    run: Run, session: BaseDatabaseWrapper, rehearsal: Rehearsal | None
) -> tuple[Problem, ...]:
    """What on the server would make the release fail; what blocks comes first.

    Rows 26, 28, 43, 47, 48, 49, 53, 54, 56 and 64 of docs/hazards.md, as far as ``session`` (in
    autocommit) may look.
    """
    scene = _Scene(run, session, rehearsal.trace if rehearsal else None)
    found = [problem for gate in GATES for problem in gate(scene)]
    return tuple(sorted(found, key=lambda problem: not problem.blocking))


def _pooler(scene: _Scene) -> Iterator[Problem]:
    problem = pooler_problem(scene.session)
    if problem is not None:
        yield problem


def _major(scene: _Scene) -> Iterator[Problem]:
    if scene.trace is None or scene.trace.before.major == scene.major:
        return
    yield Problem(
        64,
        f"the rehearsal ran on PostgreSQL {scene.trace.before.major}, but this server is "
        f"PostgreSQL {scene.major}",
        "rehearse on a server of the same major version",
        blocking=True,
    )


def _collations(scene: _Scene) -> Iterator[Problem]:
    builds = _builds_indexes(scene.trace) or bool(scene.rewritten)
    note = "; the pending migrations rely on such indexes" if builds else ""
    own = scene.ask(DATABASE_COLLATION) if scene.major >= COLLATION_MAJOR else []
    for name, then, now, database in own:
        yield Problem(
            28,
            f"indexes on text were built with version {then} of collation {name}, but the system "
            f"now has version {now}: they can miss rows{note}",
            f"at a quiet time: REINDEX DATABASE {database}; ALTER DATABASE {database} REFRESH "
            "COLLATION VERSION",
            blocking=builds,
        )
    for name, then, now, database, collation in scene.ask(NAMED_COLLATIONS):
        yield Problem(
            28,
            f"indexes with collation {name} were built with its version {then}, but the system "
            f"now has version {now}: they can miss rows{note}",
            f"at a quiet time: REINDEX DATABASE {database}; ALTER COLLATION {collation} REFRESH "
            "VERSION",
            blocking=builds,
        )


def _sequences(scene: _Scene) -> Iterator[Problem]:
    each = [str(query) for (query,) in scene.ask(NUMBERED)]
    if not each:
        return
    ((usual,),) = rows(scene.session, LOCK_TIMEOUT)
    rows(scene.session, SET_LOCK_TIMEOUT, SHORT_WAIT)
    behind = scene.ask(BEHIND.format(each=" UNION ALL ".join(each)))
    rows(scene.session, SET_LOCK_TIMEOUT, usual)
    for sequence, table, column, most, following in behind:
        yield Problem(
            26,
            f"the next value of sequence {_short(sequence)} is {following}, but "
            f"{_short(table)}.{column} already has {most}: an INSERT can fail",
            f"set it: SELECT setval('{sequence}', {most})",
            blocking=False,
        )


def _builds_indexes(trace: Trace | None) -> bool:
    """Whether a table that was there before gets an index or a constraint over one."""
    if trace is None:
        return False
    old = {one.identity for one in trace.before.of("index")}
    new = {one.identity for one in trace.after.of("index")}
    were, will = rules(trace.before.entries), rules(trace.after.entries)
    fresh = {table for _, table, *_ in new - old}
    for table, found in will.items():
        known = {rule.essence for rule in were.get(table, ())}
        fresh.update(table for rule in found if rule.essence not in known)
    return not fresh.isdisjoint(trace.before.tables)


def _lock_table(scene: _Scene) -> Iterator[Problem]:
    if scene.trace is None:
        return
    for per_transaction, transactions in scene.ask(LOCK_TABLE):
        room = int(str(per_transaction)) * int(str(transactions))
        if scene.trace.lock_count <= room * LOCK_SHARE:
            continue
        wanted = ENOUGH_LOCKS
        while scene.trace.lock_count > wanted * int(str(transactions)) * LOCK_SHARE:
            wanted *= 2
        yield Problem(
            47,
            f"the migrations hold {scene.trace.lock_count} locks at once, but the server has room "
            f"for {room} in all sessions (max_locks_per_transaction = {per_transaction})",
            f"set max_locks_per_transaction = {wanted} in PostgreSQL's configuration, and restart "
            "PostgreSQL",
            blocking=True,
        )


def _wraparound(scene: _Scene) -> Iterator[Problem]:
    for pid, table in scene.ask(WRAPAROUND, scene.altered):
        yield Problem(
            49,
            f"autovacuum (pid {pid}) must finish on {_short(table)} to prevent transaction ID "
            "wraparound, and cannot be interrupted",
            f"wait until pid {pid} is gone from pg_stat_progress_vacuum, then try again",
            blocking=True,
        )


def _old_transactions(scene: _Scene) -> Iterator[Problem]:
    old = scene.ask(OLD_TRANSACTIONS, scene.altered, OLD_TRANSACTION_SECONDS)
    for pid, seconds, application, tables in old:
        name = f" ({application})" if application else ""
        yield Problem(
            43,
            f"session {pid}{name} has held locks on {_list(tables)} for {seconds} s in one "
            "transaction, and the release would wait for it",
            f"let it finish, or end it: SELECT pg_terminate_backend({pid})",
            blocking=False,
        )
    for gid, seconds, tables in scene.ask(PREPARED, scene.altered):
        yield Problem(
            43,
            f"prepared transaction {gid!r} has held locks on {_list(tables)} for {seconds} s",
            f"end it: COMMIT PREPARED '{gid}' or ROLLBACK PREPARED '{gid}'",
            blocking=False,
        )


def _disk(scene: _Scene) -> Iterator[Problem]:
    free = scene.run.config.policies.server_free_mb
    if scene.trace is None or free is None:
        return
    ((size,),) = scene.ask(SIZES, scene.rewritten) or [(0,)]
    needed = (scene.trace.wal_bytes + int(str(size))) * DISK_MARGIN / MB + DISK_SPARE_MB
    if needed > free:
        yield Problem(
            53,
            f"the release needs about {needed:.0f} MB on the database server's disk (WAL and "
            f"rewritten tables), but only {free} MB are free (POSTDO_SERVER_FREE_MB)",
            "free some disk space on the database server",
            blocking=True,
        )


def _standbys(scene: _Scene) -> Iterator[Problem]:
    wal = scene.trace.wal_bytes if scene.trace else 0
    for name, behind, safe in scene.ask(SLOTS, FAR_BEHIND_BYTES):
        lost = safe is not None and wal > int(str(safe))
        end = ", and the release writes more than the server can keep for it" if lost else ""
        yield Problem(
            54,
            f"replication slot {name} has no consumer and retains {_megabytes(behind)} of WAL{end}",
            f"start its consumer, or drop the slot: SELECT pg_drop_replication_slot('{name}')",
            blocking=lost or wal > FAR_BEHIND_BYTES,
        )
    for name, behind in scene.ask(STANDBYS, FAR_BEHIND_BYTES):
        yield Problem(
            54,
            f"standby {name} is {_megabytes(behind)} of WAL behind",
            "wait until it has caught up: SELECT * FROM pg_stat_replication",
            blocking=wal > FAR_BEHIND_BYTES,
        )


def _privileges(scene: _Scene) -> Iterator[Problem]:
    trace = scene.trace
    if trace is None:
        return
    foreign = set()
    for table, owner, role in scene.ask(NOT_OURS, scene.altered):
        foreign.add(str(table))
        yield Problem(
            56,
            f"{role} must own {_short(table)} to change it, but its owner is {owner}",
            f"as a superuser: ALTER TABLE {table} OWNER TO {role}; or GRANT {owner} TO {role}",
            blocking=True,
        )
    homes = {table.partition(".")[0] for table in trace.after.tables - trace.before.tables}
    for schema, role in scene.ask(CLOSED_SCHEMAS, sorted(homes)):
        yield Problem(
            56,
            f"{role} may not create the new tables in schema {schema}",
            f"as the owner of the schema: GRANT CREATE ON SCHEMA {schema} TO {role}",
            blocking=True,
        )
    changed = {
        "INSERT": [effect.table for effect in trace.effects if effect.inserted],
        "UPDATE": [effect.table for effect in trace.effects if effect.updated],
        "DELETE": [effect.table for effect in trace.effects if effect.deleted],
    }
    for privilege, tables in changed.items():
        for table, role in scene.ask(LACKING, tables, privilege):
            if table not in foreign:
                yield Problem(
                    56,
                    f"{role} needs {privilege} on {_short(table)} to change its rows",
                    f"as the owner of the table: GRANT {privilege} ON {table} TO {role}",
                    blocking=True,
                )


def _short(name: object) -> str:
    return shown(str(name))


def _list(tables: object) -> str:
    return listed([_short(name) for name in str(tables).split(",")], SHOWN)


def _megabytes(count: object) -> str:
    return megabytes(int(str(count)))


# The pooler first: through one, nothing else that is asked can be trusted.
GATES: tuple[Callable[[_Scene], Iterator[Problem]], ...] = (
    _pooler,
    _major,
    _collations,
    _sequences,
    _lock_table,
    _wraparound,
    _disk,
    _standbys,
    _privileges,
    _old_transactions,
)
