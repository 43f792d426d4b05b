-- All tables of the site, as of now: none is added meanwhile. Not FOR ALL TABLES, which partitions and extensions would be in.
DROP PUBLICATION IF EXISTS postdo_upgrade;
SELECT 'CREATE PUBLICATION postdo_upgrade FOR TABLE ' || string_agg(format('ONLY %I.%I', nspname, relname), ', ')
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r' AND relpersistence = 'p' AND nspname <> 'information_schema' AND nspname !~ '^pg_'
\gexec
