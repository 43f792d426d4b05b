-- Why the rows of this database cannot be kept equal by logical replication, a reason a line; nothing if they can. PostgreSQL
-- 14 to 18: it copies rows of tables by their primary key, and neither definitions nor large objects.
WITH own AS (
    SELECT pg_class.oid, pg_class.oid::regclass::text AS name, relkind, relpersistence, relreplident, nspname,
        (SELECT extname FROM pg_depend JOIN pg_extension ON pg_extension.oid = refobjid
         WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e') AS extension
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relpersistence <> 't' AND nspname <> 'information_schema' AND nspname !~ '^pg_'
)
SELECT 'the table ' || name || ' has no primary key' FROM own
WHERE relkind = 'r' AND extension IS NULL AND relpersistence = 'p' AND (relreplident = 'n' OR relreplident = 'd'
    AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = own.oid AND indisprimary AND indimmediate))
UNION ALL
SELECT 'the table ' || name || ' is unlogged' FROM own WHERE relkind = 'r' AND relpersistence = 'u'
UNION ALL
SELECT 'the table ' || name || ' belongs to the extension ' || extension FROM own WHERE relkind = 'r' AND extension IS NOT NULL
UNION ALL
SELECT 'there is a materialized view: ' || name FROM own WHERE relkind = 'm' AND extension IS NULL
UNION ALL
SELECT 'there are large objects' WHERE EXISTS (SELECT FROM pg_largeobject_metadata)
UNION ALL
SELECT 'the trigger ' || tgname || ' also fires for replicated rows' FROM pg_trigger WHERE tgenabled IN ('A', 'R') AND NOT tgisinternal
UNION ALL
SELECT 'there is a publication: ' || pubname FROM pg_publication WHERE pubname <> 'postdo_upgrade'
UNION ALL
SELECT 'there is a subscription: ' || subname FROM pg_subscription WHERE subname <> 'postdo_upgrade';
