-- The role of the archive: it replicates, and can read no table. A receiver that hangs does not hold up the server's stop.
\set password `printf %s "$PASSWORD"`
SELECT format('CREATE ROLE %I', :'archive') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'archive') \gexec
ALTER ROLE :"archive" LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
ALTER ROLE :"archive" SET wal_sender_timeout = '20s';
SELECT pg_reload_conf() \g /dev/null
-- -1: this server was started by a kit that had no bound, and a receiver that is away would fill its disk.
SELECT 'unbounded=yes' WHERE current_setting('max_slot_wal_keep_size') = '-1';
