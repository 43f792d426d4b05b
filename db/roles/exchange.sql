-- The heir becomes the site's role, with the same password, and the superuser gets a name of its own. PostgreSQL 14 to 18.
BEGIN;
SET LOCAL lock_timeout = '5s';
-- A new name makes an md5 password void, so it is read before.
SELECT coalesce(rolpassword, '') AS password, rolpassword IS NOT NULL AS has_password FROM pg_authid WHERE oid = 10 \gset
ALTER ROLE :"role" RENAME TO :"superuser";
ALTER ROLE :"heir" RENAME TO :"role";
ALTER ROLE :"role" LOGIN;
\if :has_password
    ALTER ROLE :"role" PASSWORD :'password';
\endif
ALTER ROLE :"superuser" PASSWORD NULL;
-- Its settings, as they stand: a list such as search_path would have to be taken apart and quoted anew.
UPDATE pg_db_role_setting SET setrole = (SELECT oid FROM pg_roles WHERE rolname = :'role') WHERE setrole = 10;
COMMIT;
