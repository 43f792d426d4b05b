-- db/facts.sql: what `sh run.sh status` and `watch` look at in PostgreSQL: KEY=VALUE lines.
-- read_only: 1 while the disk is full (db/room.sh).
-- transaction: for how many seconds the oldest one of the site's role is open. A backup is one, and takes as long as it takes.
SELECT unnest(ARRAY[
    'connections=' || count(*) FILTER (WHERE backend_type = 'client backend'),
    'connections_limit=' || current_setting('max_connections'),
    'transaction=' || coalesce(extract(epoch FROM now() - min(xact_start) FILTER (
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name <> 'pg_dump'))::int, 0)
])
FROM pg_stat_activity
UNION ALL
SELECT 'wraparound=' || greatest(max(age(datfrozenxid)), max(mxid_age(datminmxid))) / 21474836 FROM pg_database
UNION ALL
SELECT 'read_only=' || (current_setting('default_transaction_read_only') = 'on')::int;
