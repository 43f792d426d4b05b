-- Of the server that is followed: the bytes of WAL that the other one does not have yet, from a position on; empty if nobody
-- follows. Variable: position, empty for now.
SELECT pg_wal_lsn_diff(coalesce(nullif(:'position', '')::pg_lsn, pg_current_wal_lsn()), replay_lsn)::bigint
FROM pg_stat_replication WHERE application_name = 'postdo_upgrade' AND state = 'streaming';
