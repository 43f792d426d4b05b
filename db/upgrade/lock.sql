-- Nobody writes to a table of the site for as long as this session lasts; its input keeps it. Then it says so.
SET lock_timeout = '5s';
BEGIN;
SELECT 'LOCK TABLE ' || string_agg(format('ONLY %I.%I', nspname, relname), ', ') || ' IN SHARE MODE'
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r' AND nspname <> 'information_schema' AND nspname !~ '^pg_'
\gexec
\echo locked
