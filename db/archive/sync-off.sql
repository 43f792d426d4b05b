-- Commits that wait are acknowledged at once, and later ones wait for PostgreSQL's own disk alone.
ALTER SYSTEM RESET synchronous_standby_names;
SELECT pg_reload_conf() \g /dev/null
