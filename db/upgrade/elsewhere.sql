-- Whether this database, which is not the site's, has tables: then it says so.
SELECT 'the database ' || current_database() || ' has tables too'
WHERE EXISTS (
    SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'm', 'S') AND relpersistence <> 't' AND nspname <> 'information_schema' AND nspname !~ '^pg_'
);
