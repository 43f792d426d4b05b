-- One who makes and renames databases for a release, as a member of the site's role. Its password is of this run alone.
\set password `printf %s "$PASSWORD"`
SELECT format('CREATE ROLE %I', :'release')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'release') \gexec
SELECT format('GRANT %I TO %I', :'role', :'release')
WHERE NOT (SELECT rolsuper FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"release" LOGIN CREATEDB PASSWORD :'password';
