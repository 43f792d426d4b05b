-- Two facts, what=... and next=..., if the role or the database is not there; else nothing. Variable run: how people call
-- run.sh for this mode. PostgreSQL 14 to 18.
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') AS has_role,
       EXISTS (SELECT FROM pg_database WHERE datname = :'database') AS has_database,
       EXISTS (SELECT FROM pg_roles WHERE oid = 10 AND rolname = :'superuser') AS is_moved
\gset
-- The role's own databases, the oldest first, and whose the database is.
SELECT coalesce((SELECT datname FROM pg_database WHERE oid >= 16384 AND NOT datistemplate
                 AND pg_get_userbyid(datdba) = :'role' ORDER BY oid LIMIT 1), '') AS other_database,
       coalesce((SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = :'database'), '') AS owner
\gset
SELECT :'owner' = :'superuser' AS is_unclaimed, :'owner' <> '' AS has_owner, :'other_database' <> '' AS has_other \gset
\if :has_role
\elif :is_unclaimed
    -- No first-start script has made it: that can be made up for (settle.sql).
    SELECT NULL WHERE false;
\elif :has_owner
    SELECT format('what=the database %s belongs to the role %s, but there is no role %s', :'database', :'owner', :'role');
    SELECT format('next=set POSTGRES_USER in .env back to %s', :'owner')
        || CASE WHEN :'is_moved' THEN format(
            '; or rename the role, with the site stopped: %s psql -U %s -d postgres -c "ALTER ROLE %s RENAME TO %s"',
            :'run', :'superuser', :'owner', :'role') ELSE '' END;
    \q
\else
    SELECT format('what=there is no role %s and no database %s in this volume', :'role', :'database');
    SELECT format('next=set POSTGRES_USER and POSTGRES_DB in .env back to what they were; this volume has %s', coalesce(
        (SELECT string_agg(format('%s (of %s)', datname, pg_get_userbyid(datdba)), ', ' ORDER BY oid)
         FROM pg_database WHERE oid >= 16384), 'no database of a site'));
    \q
\endif
\if :has_database
\elif :has_other
    SELECT format('what=there is no database %s, but the role %s has %s', :'database', :'role', :'other_database');
    SELECT format('next=set POSTGRES_DB in .env back to %s', :'other_database')
        || CASE WHEN :'is_moved' THEN format(
            '; or rename the database, with the site stopped: %s psql -U %s -d postgres -c "ALTER DATABASE %s RENAME TO %s"',
            :'run', :'superuser', :'other_database', :'database') ELSE '' END;
\else
    SELECT format('what=there is no database %s', :'database');
    SELECT format('next=set POSTGRES_DB in .env back to what it was, or create it: %s psql -U %s -d postgres -c "CREATE DATABASE %s OWNER %s TEMPLATE template0"',
        :'run', :'superuser', :'database', :'role');
\endif
