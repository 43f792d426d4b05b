-- Where this server's WAL ends now, with all that was acknowledged: where synchronous_commit is off, some of it need not be
-- written yet. A commit that writes itself out takes it along.
SET synchronous_commit = local;
SELECT pg_logical_emit_message(true, 'postdo_upgrade', '') \g /dev/null
SELECT pg_current_wal_lsn();
