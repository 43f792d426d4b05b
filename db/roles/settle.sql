-- What the site's role may do: own things, and in development make databases (for tests).
SELECT format('CREATE ROLE %I LOGIN', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
SELECT rolsuper AS is_superuser, rolpassword IS NULL AS is_new,
       :'createdb' = 'CREATEDB' AND NOT rolcreatedb AS lacks_createdb,
       :'createdb' = 'NOCREATEDB' AND rolcreatedb AS has_createdb
FROM pg_authid WHERE rolname = :'role' \gset
\if :is_superuser
    ALTER ROLE :"role" NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS;
\endif
\if :lacks_createdb
    ALTER ROLE :"role" CREATEDB;
\endif
\if :has_createdb
    ALTER ROLE :"role" NOCREATEDB;
\endif
SELECT format('ALTER DATABASE %I OWNER TO %I', datname, :'role')
FROM pg_database WHERE datname = :'database' AND datdba = 10 \gexec
-- A switch of upgrade-db that was killed has closed it (db/upgrade/fence.sql).
SELECT format('ALTER DATABASE %I CONNECTION LIMIT -1', datname)
FROM pg_database WHERE datname = :'database' AND datconnlimit = 0 \gexec
DROP ROLE IF EXISTS :"mover";
-- A release that was killed could not close its role; the next one opens it again.
SELECT format('ALTER ROLE %I NOLOGIN PASSWORD NULL', rolname) FROM pg_roles WHERE rolname = :'release' AND rolcanlogin \gexec
