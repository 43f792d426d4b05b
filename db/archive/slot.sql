-- What status says of the archive: whether it receives, and what the server keeps for it. For every role.
SELECT 'sync=' || CASE WHEN current_setting('synchronous_standby_names') = '' THEN 'no' ELSE 'yes' END;
SELECT 'receiving=' || CASE WHEN active THEN 'yes' ELSE 'no' END || E'\nslot=' || wal_status
    || E'\nkept=' || coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint::text, '')
FROM pg_replication_slots WHERE slot_name = 'postdo_archive';
