-- Who is connected besides us, one a line: role, database and program.
SELECT format('%s, database %s%s', usename, datname, ' (' || nullif(application_name, '') || ')')
FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY 1;
