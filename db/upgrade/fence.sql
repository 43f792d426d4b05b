-- Nobody but a superuser connects to the site's database, and who is connected is not any more. Variable: database. Whoever
-- holds the locks (lock.sql) stays: what waits for them would else be written.
ALTER DATABASE :"database" CONNECTION LIMIT 0;
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = :'database' AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name <> 'postdo_upgrade_lock';
