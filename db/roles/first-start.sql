-- The site's role, and its database as the role's own. It cannot log in before it has a password.
SELECT format('CREATE ROLE %I LOGIN', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
ALTER DATABASE :"database" OWNER TO :"role";
-- The image asks for a password for its superuser; from here on there is none.
ALTER ROLE CURRENT_USER PASSWORD NULL;
