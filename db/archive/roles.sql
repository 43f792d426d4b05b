-- On a recovered server: statements for another one, which make the roles that it lacks, since they own things or have
-- privileges. They cannot log in; who they are, and with what password, is for people to say.
SELECT format('SELECT %L WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = %L) \gexec',
              format('CREATE ROLE %I NOLOGIN', rolname), rolname)
FROM pg_roles WHERE rolname !~ '^(pg|postdo)_' ORDER BY oid;
