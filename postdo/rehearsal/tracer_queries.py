"""What a tracer asks PostgreSQL about the session that it watches."""

from __future__ import annotations

# The tables that there are: id, name with its schema, file. PostgreSQL 14 to 18.
TABLES = """
SELECT c.oid::bigint, n.nspname || '.' || c.relname, c.relname::text,
       pg_relation_filenode(c.oid)::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'postdo_journal')
  AND c.relname <> 'django_migrations'
"""
# The files of these tables: id, file. PostgreSQL 14 to 18.
FILES = (
    "SELECT oid::bigint, pg_relation_filenode(oid)::bigint FROM pg_class WHERE oid = ANY(%s::oid[])"
)
# Locks of this session on what is no system table (they have lower ids): id, mode.
LOCKS = """
SELECT relation::bigint, mode FROM pg_locks
WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted AND relation >= 16384
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
# Entries of this session in the shared table of locks; fast-path locks need none.
LOCK_COUNT = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND NOT fastpath"
# Whether the role may ask for the position of the WAL, and the position in bytes.
MAY_SEE_WAL = "SELECT has_function_privilege('pg_current_wal_insert_lsn()', 'EXECUTE')"
WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"

# From the weakest to the strongest, as pg_locks writes them. PostgreSQL 14 to 18.
STRENGTH = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
STRONGEST = len(STRENGTH) - 1
