-- What db/archive.sh has to know of the server, KEY=VALUE a line, by the role that only replicates. PostgreSQL 14 and newer.
SELECT 'system=' || system_identifier FROM pg_control_system();
SELECT 'major=' || current_setting('server_version_num')::int / 10000;
SELECT 'segment_bytes=' || pg_size_bytes(current_setting('wal_segment_size'));
SELECT 'position=' || pg_walfile_name(pg_current_wal_lsn());
SELECT 'summaries=' || current_setting('summarize_wal') WHERE current_setting('server_version_num')::int >= 170000;
-- The oldest WAL that the server keeps for the archive; "lost" where it has more of it than max_slot_wal_keep_size allows.
SELECT 'slot=' || wal_status || E'\noldest=' || coalesce(pg_walfile_name(restart_lsn), '')
FROM pg_replication_slots WHERE slot_name = 'postdo_archive';
