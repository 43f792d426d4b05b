CREATE EXTENSION IF NOT EXISTS :"extension" CASCADE;
-- pg_dump writes the rows of tables that an extension keeps settings in, such as spatial_ref_sys of PostGIS: the site's role
-- reads them for a copy or a backup, and writes them in the copy.
SELECT DISTINCT format('GRANT USAGE ON SCHEMA %I TO %I', n.nspname, :'role')
FROM pg_extension e, unnest(e.extconfig) t(id) JOIN pg_class c ON c.oid = t.id JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT has_schema_privilege(:'role', n.oid, 'USAGE') \gexec
SELECT format('GRANT %s %s TO %I', CASE c.relkind WHEN 'S' THEN 'SELECT, UPDATE ON SEQUENCE' ELSE 'SELECT, INSERT ON TABLE' END,
    c.oid::regclass, :'role')
FROM pg_extension e, unnest(e.extconfig) t(id) JOIN pg_class c ON c.oid = t.id \gexec
