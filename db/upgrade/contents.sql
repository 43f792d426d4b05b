-- Statements that tell what a database holds: a line for each table with its number of rows and their digest, one for each
-- sequence with its value, one for each large object. They are run on this server and on another one, whose answers are
-- equal then. The digest does not depend on the order of the rows, and the settings make it the same on every major.
-- Variable digest_mb: the smallest tables that have so many MB together get a digest, the others are only counted; 0: all of
-- them get one. PostgreSQL 14 to 18.
\echo 'SET TimeZone = ''UTC'';'
\echo 'SET DateStyle = ''ISO, YMD'';'
\echo 'SET IntervalStyle = ''postgres'';'
\echo 'SET extra_float_digits = 3;'
\echo 'SET bytea_output = ''hex'';'
\echo 'SET lc_monetary = ''C'';'
\echo 'SET search_path = pg_catalog;'
SELECT format(
    CASE WHEN :digest_mb = 0 OR sum(pg_table_size(pg_class.oid)) OVER (ORDER BY pg_table_size(pg_class.oid), pg_class.oid) <= :digest_mb * 1048576::bigint
        THEN 'SELECT %1$L, count(*), coalesce(sum((''x'' || left(md5(t::text), 16))::bit(64)::bigint::numeric), 0) FROM ONLY %2$I.%3$I AS t;'
        ELSE 'SELECT %1$L, count(*) FROM ONLY %2$I.%3$I;'
    END,
    'table ' || nspname || '.' || relname, nspname, relname)
FROM pg_class JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
WHERE relkind IN ('r', 'm') AND relpersistence <> 't' AND nspname <> 'information_schema' AND nspname !~ '^pg_'
ORDER BY nspname, relname;
SELECT format('SELECT %L, last_value, is_called FROM %I.%I;', 'sequence ' || nspname || '.' || relname, nspname, relname)
FROM pg_class JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
WHERE relkind = 'S' AND relpersistence <> 't' AND nspname <> 'information_schema' AND nspname !~ '^pg_'
ORDER BY nspname, relname;
\echo 'SELECT ''large object '' || oid, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid;'
