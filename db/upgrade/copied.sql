-- Of the server that follows: tables that have all rows, tables, and errors since it began, where the server counts them
-- (from 15 on).
SELECT unnest(ARRAY['copied=' || count(*) FILTER (WHERE srsubstate IN ('r', 's')), 'tables=' || count(*)]) FROM pg_subscription_rel;
SELECT to_regclass('pg_catalog.pg_stat_subscription_stats') IS NOT NULL AS counts \gset
\if :counts
SELECT format('errors=%s', sum(apply_error_count + sync_error_count)) FROM pg_stat_subscription_stats WHERE subname = 'postdo_upgrade';
\endif
