-- Where this server's WAL ends now.
SELECT pg_current_wal_lsn();
