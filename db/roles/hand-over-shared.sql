-- The same for what no database has for itself: databases, tablespaces, and who is a member of whom.
SELECT format('ALTER DATABASE %I OWNER TO %I', datname, :'role') FROM pg_database WHERE datdba = 10 AND oid >= 16384 \gexec
SELECT format('ALTER TABLESPACE %I OWNER TO %I', spcname, :'role') FROM pg_tablespace WHERE spcowner = 10 AND oid >= 16384 \gexec
SELECT DISTINCT format('GRANT %I TO %I%s', r.rolname, :'role', CASE WHEN m.admin_option THEN ' WITH ADMIN OPTION' END)
FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid WHERE m.member = 10 AND r.rolname <> :'role' \gexec
-- A member of the superuser could become it.
SELECT format('GRANT %I TO %I', :'role', r.rolname), format('REVOKE %I FROM %I', pg_get_userbyid(10), r.rolname)
FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE m.roleid = 10 AND r.rolname <> :'role' \gexec
