-- What PostgreSQL sorted with another version of a collation than it has now, or will have. Variables: libc, the version of
-- the C library that the next image brings; empty for what runs. Rows: "changed", database, collation, version then, version
-- now; and "index", database, name, size. PostgreSQL 14 to 18.
SELECT current_setting('server_version_num')::int >= 150000 AS database_has_version \gset
\if :database_has_version
    -- Without a version the order is that of code points, which never changes.
    SELECT datcollversion AS then_version, coalesce(CASE WHEN :'libc' <> '' AND to_jsonb(d) ->> 'datlocprovider' = 'c'
               THEN :'libc' ELSE pg_database_collation_actual_version(oid) END, 'none') AS now_version,
           coalesce(datcollversion <> coalesce(CASE WHEN :'libc' <> '' AND to_jsonb(d) ->> 'datlocprovider' = 'c'
               THEN :'libc' ELSE pg_database_collation_actual_version(oid) END, 'none'), false) AS is_changed,
           coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', datcollate::text) AS own_collation
    FROM pg_database d WHERE datname = current_database() \gset
\else
    SELECT '' AS then_version, '' AS now_version, false AS is_changed, '' AS own_collation \gset
\endif
CREATE TEMPORARY VIEW pg_temp.named AS
SELECT c.oid, collname, collversion, coalesce(CASE WHEN :'libc' <> '' AND collprovider = 'c' THEN :'libc'
           ELSE pg_collation_actual_version(c.oid) END, 'none') AS now_version
FROM pg_collation c WHERE collversion IS NOT NULL;
CREATE TEMPORARY VIEW pg_temp.affected AS
SELECT DISTINCT i.indexrelid, n.nspname, c.relname, pg_relation_size(i.indexrelid) AS size, collation_oid
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace,
     unnest(i.indcollation::oid[]) AS collation_oid
WHERE c.relkind = 'i' AND n.nspname NOT IN ('pg_catalog', 'pg_toast') AND c.relpersistence <> 't' AND (
    collation_oid = 100 AND :'is_changed'
    OR collation_oid IN (SELECT oid FROM pg_temp.named WHERE collversion <> now_version));
SELECT 'changed', current_database(), :'own_collation', :'then_version', :'now_version' WHERE :'is_changed';
SELECT 'changed', current_database(), collname, collversion, now_version FROM pg_temp.named
WHERE collversion <> now_version AND oid IN (SELECT collation_oid FROM pg_temp.affected) ORDER BY collname;
SELECT 'index', current_database(), format('%I.%I', nspname, relname), pg_size_pretty(size) FROM pg_temp.affected
GROUP BY indexrelid, nspname, relname, size ORDER BY size DESC, 3;
