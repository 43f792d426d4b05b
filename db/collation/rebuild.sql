-- Sorts them anew, and only then says that they are of this version. A unique index that meets two equal rows ends it
-- before that. Run after look.sql, in its session.
SELECT format('REINDEX INDEX %I.%I', nspname, relname) FROM pg_temp.affected
GROUP BY indexrelid, nspname, relname ORDER BY 1 \gexec
SELECT format('ALTER COLLATION %s REFRESH VERSION', oid::regcollation) FROM pg_temp.named WHERE collversion <> now_version \gexec
SELECT format('ALTER DATABASE %I REFRESH COLLATION VERSION', current_database()) WHERE :'is_changed' \gexec
