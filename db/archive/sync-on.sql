-- A commit is acknowledged when the archive has it on its disk.
ALTER SYSTEM SET synchronous_standby_names = 'postdo_archive';
SELECT pg_reload_conf() \g /dev/null
