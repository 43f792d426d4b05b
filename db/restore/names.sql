-- The names of the databases on this server, one a line.
SELECT datname FROM pg_database ORDER BY datname;
