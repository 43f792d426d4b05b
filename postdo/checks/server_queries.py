"""The questions of ``server.py`` to the server. None of them changes anything or waits."""

# Version of the collation that the database was made with, and that of the system's library now.
# The locale of ICU has two names: daticulocale (15, 16), datlocale (17, 18). PostgreSQL 15 to 18.
DATABASE_COLLATION = """
SELECT coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', datcollate::text),
       datcollversion, pg_database_collation_actual_version(oid), quote_ident(datname)
FROM pg_database d WHERE datname = current_database()
  AND datcollversion <> pg_database_collation_actual_version(oid)
"""
# Named collations that columns of this database use, with both versions, if these differ. To ask
# for the version of a collation loads it, so it is asked of those that are used alone.
# PostgreSQL 14 to 18.
NAMED_COLLATIONS = """
WITH used AS MATERIALIZED (
    SELECT k.* FROM pg_collation k
    WHERE k.collversion IS NOT NULL AND EXISTS (
        SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE a.attcollation = k.oid AND c.relkind IN ('r', 'p', 'm', 'i')
          AND c.relnamespace <> 'pg_catalog'::regnamespace)
)
SELECT k.collname::text, k.collversion, pg_collation_actual_version(k.oid),
       quote_ident(current_database()), format('%I.%I', n.nspname, k.collname)
FROM used k JOIN pg_namespace n ON n.oid = k.collnamespace
WHERE k.collversion <> pg_collation_actual_version(k.oid) ORDER BY 1
"""
# Room in the lock table, per transaction and for how many. PostgreSQL 14 to 18.
LOCK_TABLE = """
SELECT current_setting('max_locks_per_transaction')::int,
       current_setting('max_connections')::int
           + current_setting('max_prepared_transactions')::int
"""
# Autovacuum workers that must finish on one of these tables: pid and table. Another role's
# statement cannot be read, so the table's age stands in for it. PostgreSQL 14 to 18.
WRAPAROUND = """
SELECT l.pid, n.nspname || '.' || c.relname
FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'ShareUpdateExclusiveLock'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND n.nspname || '.' || c.relname = ANY(%s)
  AND (a.query LIKE 'autovacuum:%%(to prevent wraparound)'
       OR (a.backend_type IS NULL
           AND age(c.relfrozenxid) > current_setting('autovacuum_freeze_max_age')::bigint
           AND a.pid IN (SELECT pid FROM pg_stat_progress_vacuum)))
ORDER BY 2
"""
# Transactions older than so many seconds that hold locks on these tables: pid, age in seconds,
# application, tables. The age of another role's is not shown. PostgreSQL 14 to 18.
OLD_TRANSACTIONS = """
SELECT a.pid, extract(epoch FROM now() - a.xact_start)::int, a.application_name,
       string_agg(DISTINCT n.nspname || '.' || c.relname, ',')
FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid AND l.locktype = 'relation' AND l.granted
JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
  AND a.backend_type IS DISTINCT FROM 'autovacuum worker'
  AND n.nspname || '.' || c.relname = ANY(%s) AND a.xact_start < now() - %s * interval '1 second'
GROUP BY 1, 2, 3 ORDER BY 2 DESC
"""
# Transactions that were prepared and never ended, with locks on these tables: name, age in
# seconds, tables. PostgreSQL 14 to 18.
PREPARED = """
SELECT p.gid, extract(epoch FROM now() - p.prepared)::int,
       string_agg(DISTINCT n.nspname || '.' || c.relname, ',')
FROM pg_prepared_xacts p
JOIN pg_locks x ON x.pid IS NULL AND x.transactionid = p.transaction
JOIN pg_locks l ON l.pid IS NULL AND l.virtualtransaction = x.virtualtransaction
JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.database = current_database() AND n.nspname || '.' || c.relname = ANY(%s)
GROUP BY 1, 2 ORDER BY 2 DESC
"""
# Replication slots that nobody reads and that hold back more WAL than so many bytes: name, bytes,
# bytes until the server gives it up (NULL: never). PostgreSQL 14 to 18.
SLOTS = """
SELECT slot_name::text, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint, safe_wal_size
FROM pg_replication_slots
WHERE NOT active AND pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) > %s ORDER BY 2 DESC
"""
# Standbys that have more than so many bytes still to apply: name, bytes. NULL, and so silent, for
# a role without pg_read_all_stats. PostgreSQL 14 to 18.
STANDBYS = """
SELECT application_name, pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint
FROM pg_stat_replication
WHERE pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) > %s ORDER BY 2 DESC
"""
# Those of these tables that the role does not own: table as written in SQL, owner, and the role
# itself. PostgreSQL 14 to 18.
NOT_OURS = """
SELECT c.oid::regclass::text, quote_ident(pg_get_userbyid(c.relowner)), quote_ident(current_user)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname || '.' || c.relname = ANY(%s) AND c.relkind IN ('r', 'p', 'f')
  AND NOT pg_has_role(current_user, c.relowner, 'USAGE')
ORDER BY 1
"""
# Those of these schemas in which the role may not create anything: schema as written in SQL, and
# the role. PostgreSQL 14 to 18.
CLOSED_SCHEMAS = """
SELECT quote_ident(nspname), quote_ident(current_user) FROM pg_namespace
WHERE nspname = ANY(%s) AND NOT has_schema_privilege(oid, 'CREATE') ORDER BY 1
"""
# Whether the role may do this to a table: table as written in SQL, the role. The privilege comes
# second. PostgreSQL 14 to 18.
LACKING = """
SELECT c.oid::regclass::text, quote_ident(current_user)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname || '.' || c.relname = ANY(%s) AND NOT has_table_privilege(c.oid, %s) ORDER BY 1
"""
# For each numbered column with an index on it alone or first: a query for its sequence, table and
# column, their names in a message, the greatest number there, and the next that the sequence gives.
# PostgreSQL 14 to 18.
NUMBERED = """
SELECT format('SELECT %L, %L, %L, (SELECT max(%I) FROM ONLY %I.%I)::numeric AS most, '
              '(SELECT last_value::numeric + CASE WHEN is_called THEN %s ELSE 0 END FROM %I.%I) '
              'AS next', format('%I.%I', m.nspname, s.relname),
              format('%I.%I', n.nspname, c.relname), quote_ident(a.attname),
              a.attname, n.nspname, c.relname, q.seqincrement, m.nspname, s.relname)
FROM pg_sequence q JOIN pg_class s ON s.oid = q.seqrelid
JOIN pg_namespace m ON m.oid = s.relnamespace
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid
    AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
JOIN pg_class c ON c.oid = d.refobjid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
WHERE q.seqincrement > 0 AND NOT q.seqcycle AND c.relkind = 'r'
  AND n.nspname <> 'postdo_journal' AND s.relpersistence <> 't'
  AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
  AND has_schema_privilege(m.oid, 'USAGE') AND has_schema_privilege(n.oid, 'USAGE')
  AND has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(s.oid, 'SELECT')
  AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum
              AND i.indisvalid AND i.indpred IS NULL)
ORDER BY n.nspname, c.relname, a.attname
"""
# Those of these queries whose sequence gives a number that is there. PostgreSQL 14 to 18.
BEHIND = "SELECT * FROM ({each}) AS numbered (sequence, home, field, most, next) WHERE next <= most"
# How long such a query may wait for a table that somebody has locked, and what it was.
LOCK_TIMEOUT = "SELECT current_setting('lock_timeout')"
SET_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', %s, false)"
# Bytes of these tables with their indexes. PostgreSQL 14 to 18.
SIZES = """
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname || '.' || c.relname = ANY(%s)
"""
