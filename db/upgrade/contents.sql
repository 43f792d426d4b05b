-- What a database holds: a line for each table and materialized view with its number of rows and their digest, one for each
-- sequence with its value. The digest does not depend on the order of the rows, and the settings make it the same on every
-- major. PostgreSQL 14 to 18.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, YMD';
SET IntervalStyle = 'postgres';
SET extra_float_digits = 3;
SET bytea_output = 'hex';
SET lc_monetary = 'C';
SET search_path = pg_catalog;
SELECT format(
    'SELECT %L, count(*), coalesce(sum((''x'' || left(md5(t::text), 16))::bit(64)::bigint::numeric), 0) FROM ONLY %I.%I AS t',
    'table ' || nspname || '.' || relname, nspname, relname)
FROM pg_class JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
WHERE relkind IN ('r', 'm') AND relpersistence <> 't'
    AND nspname <> 'information_schema' AND nspname !~ '^pg_'
ORDER BY nspname, relname
\gexec
SELECT format('SELECT %L, last_value, is_called FROM %I.%I', 'sequence ' || nspname || '.' || relname, nspname, relname)
FROM pg_class JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
WHERE relkind = 'S' AND relpersistence <> 't' AND nspname <> 'information_schema' AND nspname !~ '^pg_'
ORDER BY nspname, relname
\gexec
SELECT 'large object ' || oid, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid;
