"""Count how many rows of each table a session changed, with PostgreSQL's own counters.

PostgreSQL counts inserted, updated and deleted rows for its statistics. Inside a transaction,
pg_stat_get_xact_tuples_* shows what this transaction changed; that is exact and costs nothing.
After a commit, only the totals of all sessions are visible, and only after a delay, unless
pg_stat_force_next_flush (PostgreSQL 15) is called. TRUNCATE is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.database import rows
from postdo.rehearsal.trace import Effect

Counts = tuple[int, int, int]

# Rows inserted, updated and deleted per table by the session's open transaction: id, name with its
# schema, three numbers. Not of system tables, ours, and the recorder. PostgreSQL 14 to 18.
IN_TRANSACTION = """
SELECT * FROM (
    SELECT c.oid::bigint, n.nspname || '.' || c.relname,
           pg_stat_get_xact_tuples_inserted(c.oid) AS inserted,
           pg_stat_get_xact_tuples_updated(c.oid) AS updated,
           pg_stat_get_xact_tuples_deleted(c.oid) AS deleted
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname !~ '^pg_'
      AND n.nspname NOT IN ('information_schema', 'postdo_journal')
      AND c.relname <> 'django_migrations'
) counted WHERE inserted + updated + deleted > 0
"""
# The same of everything that was ever committed. PostgreSQL 15 to 18; 14 tells it too late.
COMMITTED = IN_TRANSACTION.replace("_xact_", "_")
FLUSHES_FROM = 150000  # pg_stat_force_next_flush() came with PostgreSQL 15
# Makes the counters of this session visible at the end of the statement.
FLUSH = "SELECT pg_stat_force_next_flush()"
# All rows that were ever changed in the database, as far as its counters go; what was rolled back
# counts too. A session tells its own once a second at most. PostgreSQL 14 to 18.
CHANGES = """
SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables
"""
# Every table with its schema, about how many rows it has, and how many were ever changed in it, by
# the same counters. PostgreSQL 14 to 18.
TABLES = """
SELECT schemaname || '.' || relname, n_live_tup, n_tup_ins + n_tup_upd + n_tup_del
FROM pg_stat_user_tables WHERE schemaname <> 'postdo_journal' ORDER BY 1
"""


@dataclass(frozen=True)
class Table:
    """A table's statistics: about how many ``rows`` it has, and ``changes`` it ever had."""

    name: str
    rows: int
    changes: int


def tables(session: BaseDatabaseWrapper) -> tuple[Table, ...]:
    """Every table of the database, with its statistics."""
    return tuple(Table(*found) for found in rows(session, TABLES))


def changes(session: BaseDatabaseWrapper) -> int:
    """How many rows were ever changed in this database. It grows with some delay."""
    ((count,),) = rows(session, CHANGES)
    return int(count)


class RowEffects:
    """Counts the changes of rows between ``baseline()`` and ``read()``.

    ``committed`` false: call both in one transaction; only this session counts. True: call both
    outside of a transaction; all sessions of the database count, and PostgreSQL 14 shows nothing. A
    TRUNCATE is not counted, and resets the counts of its table to 0.
    """

    def __init__(self, worker: BaseDatabaseWrapper, *, committed: bool = False) -> None:
        self._worker = worker
        self._committed = committed
        self._before: dict[int, Counts] = {}

    def baseline(self) -> None:
        """Start counting here."""
        self._before = {table: counts for table, _, counts in self._look()}

    def read(self) -> tuple[Effect, ...]:
        """Changes since the baseline, by table; without tables that no longer exist."""
        return tuple(
            sorted(
                (
                    Effect(name, *since)
                    for table, name, counts in self._look()
                    for since in [_since(counts, self._before.get(table, (0, 0, 0)))]
                    if any(since)
                ),
                key=lambda effect: effect.table,
            )
        )

    def _look(self) -> list[tuple[int, str, Counts]]:
        sql = IN_TRANSACTION
        if self._committed:
            connection = self._worker.connection
            version = getattr(connection.info, "server_version", 0) if connection else 0
            if version < FLUSHES_FROM:
                return []
            rows(self._worker, FLUSH)
            sql = COMMITTED
        return [(table, name, (i, u, d)) for table, name, i, u, d in rows(self._worker, sql)]


def _since(now: Counts, before: Counts) -> Counts:
    if any(number < earlier for number, earlier in zip(now, before, strict=True)):
        return now  # a TRUNCATE in between began again at zero
    return (now[0] - before[0], now[1] - before[1], now[2] - before[2])
