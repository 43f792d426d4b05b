-- What the first superuser (oid 10) owns in this database becomes the role's, but for what came with PostgreSQL (below
-- 16384) or with an extension. Event triggers, publications, subscriptions and foreign-data wrappers stay: their owner may
-- have to be a superuser. PostgreSQL 14 to 18.
SET lock_timeout = '1s'; -- what waits for a table makes others wait
SET deadlock_timeout = '200ms'; -- whoever waits that long ends an autovacuum in its way
WITH owned AS (
    SELECT 'pg_class'::regclass AS class, oid FROM pg_class c
    WHERE relowner = 10 AND relpersistence <> 't'
      AND (relkind IN ('r', 'p', 'v', 'm', 'f')
           -- A sequence of a column follows its table.
           OR relkind = 'S' AND NOT EXISTS (
               SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
               AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')))
    UNION ALL SELECT 'pg_type'::regclass, t.oid FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE typowner = 10 AND (typtype IN ('b', 'd', 'e', 'r') OR typtype = 'c' AND c.relkind = 'c')
      AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
    UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE proowner = 10
    UNION ALL SELECT 'pg_namespace'::regclass, oid FROM pg_namespace WHERE nspowner = 10 AND nspname !~ '^pg_'
    UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator WHERE oprowner = 10
    UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass WHERE opcowner = 10
    UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily WHERE opfowner = 10
    UNION ALL SELECT 'pg_collation'::regclass, oid FROM pg_collation WHERE collowner = 10
    UNION ALL SELECT 'pg_conversion'::regclass, oid FROM pg_conversion WHERE conowner = 10
    UNION ALL SELECT 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext WHERE stxowner = 10
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict WHERE dictowner = 10
    UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config WHERE cfgowner = 10
    UNION ALL SELECT 'pg_foreign_server'::regclass, oid FROM pg_foreign_server WHERE srvowner = 10
    UNION ALL SELECT 'pg_largeobject'::regclass, oid FROM pg_largeobject_metadata WHERE lomowner = 10
), named AS (
    SELECT (pg_identify_object(class, oid, 0)).* FROM owned
    WHERE (oid >= 16384 OR class = 'pg_largeobject'::regclass) AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.classid = class AND d.objid = owned.oid AND d.deptype = 'e')
    -- Before PostgreSQL 15, and in what was upgraded from there, it is the superuser's.
    UNION ALL SELECT (pg_identify_object('pg_namespace'::regclass, oid, 0)).* FROM pg_namespace
    WHERE nspname = 'public' AND nspowner = 10
)
SELECT format('ALTER %s %s OWNER TO %I', CASE type
    WHEN 'composite type' THEN 'type' WHEN 'statistics object' THEN 'statistics' ELSE type END, identity, :'role')
FROM named \gexec

-- What the superuser had given to roles for what it would create.
WITH given AS (
    SELECT d.defaclobjtype, d.defaclnamespace, n.nspname, a.*, pg_get_userbyid(a.grantee) AS grantee_name,
           CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
                WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' END AS what
    FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace, aclexplode(d.defaclacl) a
    WHERE d.defaclrole = 10 AND d.defaclobjtype IN ('r', 'S', 'f', 'T', 'n')
)
SELECT statement FROM (
    -- Without a schema the list is all that counts, also what PUBLIC has no more.
    SELECT DISTINCT 1 AS turn, format('ALTER DEFAULT PRIVILEGES FOR ROLE %I REVOKE ALL ON %s FROM PUBLIC', :'role', what) AS statement
    FROM given WHERE defaclnamespace = 0
    UNION ALL SELECT 2, format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s GRANT %s ON %s TO %s%s', :'role',
        CASE WHEN defaclnamespace <> 0 THEN format(' IN SCHEMA %I', nspname) END, privilege_type, what,
        CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(grantee_name) END,
        CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
    FROM given WHERE grantee <> 10
) AS statements ORDER BY turn \gexec

-- Logins on foreign servers.
SELECT format('CREATE USER MAPPING IF NOT EXISTS FOR %I SERVER %I%s', :'role', s.srvname, CASE WHEN m.umoptions IS NOT NULL
    THEN (SELECT format(' OPTIONS (%s)', string_agg(format('%I %L', option_name, option_value), ', '))
          FROM pg_options_to_table(m.umoptions)) END)
FROM pg_user_mapping m JOIN pg_foreign_server s ON s.oid = m.umserver WHERE m.umuser = 10 \gexec

-- A superuser could use what others own; the role can as a member of theirs.
SELECT DISTINCT format('GRANT %I TO %I', r.rolname, :'role') FROM (
    SELECT relowner AS owner FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relpersistence <> 't' AND c.oid >= 16384 AND nspname !~ '^pg_'
    UNION SELECT nspowner FROM pg_namespace WHERE oid >= 16384
) o JOIN pg_roles r ON r.oid = o.owner
WHERE NOT r.rolsuper AND r.rolname <> :'role' AND r.rolname !~ '^pg_' AND NOT pg_has_role(:'role', r.oid, 'MEMBER') \gexec
