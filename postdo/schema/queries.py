"""The queries of PostgreSQL's catalogues: one for each kind of object, none for each single object.

All of them run with ``search_path = pg_catalog``, so that every name in a definition is printed
with its schema. Read against PostgreSQL 14 to 18.
"""

from __future__ import annotations

from dataclasses import dataclass

# The major version of the server. PostgreSQL 14 to 18.
MAJOR = "SELECT current_setting('server_version_num')::int / 10000"

# What the text of a definition depends on, and what a session may have set otherwise. ``jit``:
# compiling these queries takes longer than running them.
SETTINGS = {
    "search_path": "pg_catalog",
    "quote_all_identifiers": "off",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "jit": "off",
}

# The relations that are the project's: oid, "schema.name" and the columns of pg_class that are
# needed. Not the server's, not an extension's, not our own, nothing temporary. PostgreSQL 14 to 18.
_OURS = """
WITH space AS (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'postdo_journal')
), relation AS (
    SELECT c.oid, n.nspname || '.' || c.relname AS name, c.relname, c.relkind, c.relpersistence,
           c.relrowsecurity, c.relforcerowsecurity, c.reloptions, c.relam, c.relispartition,
           c.relpartbound
    FROM pg_class c JOIN space n ON n.oid = c.relnamespace
    WHERE c.relpersistence <> 't' AND NOT EXISTS (
        SELECT FROM pg_depend e
        WHERE e.deptype = 'e' AND e.classid = 'pg_class'::regclass AND e.objid = c.oid)
)
"""

# Schemas, without those that an extension made: '', name. PostgreSQL 14 to 18.
_SCHEMAS = """
SELECT '', n.nspname::text
FROM space n WHERE NOT EXISTS (
    SELECT FROM pg_depend e
    WHERE e.deptype = 'e' AND e.classid = 'pg_namespace'::regclass AND e.objid = n.oid)
"""

# Extensions: '', name, version, schema. PostgreSQL 14 to 18.
_EXTENSIONS = """
SELECT '', e.extname::text, e.extversion, n.nspname::text
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname <> 'plpgsql'
"""

# Types that somebody made: '', name, form, and what makes each form what it is; lists are in their
# order, and a domain's constraints without their names. PostgreSQL 14 to 18.
_TYPES = """
SELECT '', n.nspname || '.' || t.typname,
       CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'r' THEN 'range'
                      ELSE 'composite' END,
       (SELECT string_agg(quote_literal(l.enumlabel), ', ' ORDER BY l.enumsortorder)
        FROM pg_enum l WHERE l.enumtypid = t.oid),
       CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod)
                      WHEN 'r' THEN (SELECT format_type(g.rngsubtype, NULL)
                                     FROM pg_range g WHERE g.rngtypid = t.oid) END,
       CASE WHEN t.typtype = 'd' THEN CASE WHEN t.typnotnull THEN 'no' ELSE 'yes' END END,
       CASE WHEN t.typtype = 'd' THEN t.typdefault END,
       (SELECT string_agg(d.definition, ' ' ORDER BY d.definition)
        FROM (SELECT pg_get_constraintdef(k.oid) AS definition FROM pg_constraint k
              WHERE k.contypid = t.oid AND k.contype = 'c') d),
       (SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod),
                          ', ' ORDER BY a.attnum)
        FROM pg_attribute a
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
FROM pg_type t JOIN space n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c'))
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.deptype = 'e'
                  AND e.classid = 'pg_type'::regclass AND e.objid = t.oid)
"""

# Collations: '', name, provider, locale, whether deterministic. The locale's column has three
# names: collcollate (libc; 14 for all), colliculocale (15, 16), colllocale (17, 18).
_COLLATIONS = """
SELECT '', n.nspname || '.' || c.collname, c.collprovider::text,
       coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale', c.collcollate::text),
       CASE WHEN c.collisdeterministic THEN 'yes' ELSE 'no' END
FROM pg_collation c JOIN space n ON n.oid = c.collnamespace
WHERE NOT EXISTS (SELECT FROM pg_depend e WHERE e.deptype = 'e'
                  AND e.classid = 'pg_collation'::regclass AND e.objid = c.oid)
"""

# Tables, also partitioned and foreign ones: table, name, then the facts. PostgreSQL 14 to 18.
_TABLES = """
SELECT r.name, r.relname::text,
       CASE r.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned' ELSE 'foreign' END,
       CASE r.relpersistence WHEN 'u' THEN 'unlogged' ELSE 'logged' END,
       CASE r.relkind WHEN 'p' THEN pg_get_partkeydef(r.oid) END,
       pg_get_expr(r.relpartbound, r.oid),
       (SELECT string_agg(pn.nspname || '.' || p.relname, ', ' ORDER BY i.inhseqno)
        FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
        JOIN pg_namespace pn ON pn.oid = p.relnamespace WHERE i.inhrelid = r.oid),
       CASE WHEN r.relrowsecurity THEN 'yes' ELSE 'no' END,
       CASE WHEN r.relforcerowsecurity THEN 'yes' ELSE 'no' END,
       array_to_string(ARRAY(SELECT o FROM unnest(r.reloptions) o ORDER BY o), ', '),
       coalesce((SELECT amname::text FROM pg_am WHERE pg_am.oid = r.relam), '')
FROM relation r WHERE r.relkind IN ('r', 'p', 'f')
"""

# Columns of tables and views: table, name, then the facts. A default that is the next value of a
# sequence that belongs to this very column (serial) is read as identity by default. ``sequence``:
# what the default takes its values from. PostgreSQL 14 to 18.
_COLUMNS = """
, feed AS (
    SELECT d.objid AS attrdef, min(s.oid) AS sequence
    FROM pg_depend d JOIN pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
    WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
    GROUP BY d.objid
), col AS MATERIALIZED (  -- so that no expression is put together more than once
    SELECT r.name AS relation, r.relkind, a.attrelid, a.attname, a.attnum, a.attinhcount,
           a.attnotnull, a.attidentity, a.attgenerated,
           format_type(a.atttypid, a.atttypmod) AS type, pg_get_expr(d.adbin, d.adrelid) AS default,
           CASE WHEN a.attcollation <> t.typcollation AND a.attcollation <> 0
                THEN a.attcollation END AS collation,
           n.nspname || '.' || s.relname AS sequence,
           'nextval(' || quote_literal(quote_ident(n.nspname) || '.' || quote_ident(s.relname))
               || '::regclass)' AS nextval,
           s.oid IS NOT NULL AND EXISTS (
                   SELECT FROM pg_depend o
                   WHERE o.deptype = 'a' AND o.classid = 'pg_class'::regclass AND o.objid = s.oid
                     AND o.refclassid = 'pg_class'::regclass AND o.refobjid = a.attrelid
                     AND o.refobjsubid = a.attnum) AS owned
    FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN feed f ON f.attrdef = d.oid LEFT JOIN pg_class s ON s.oid = f.sequence
    LEFT JOIN pg_namespace n ON n.oid = s.relnamespace
    WHERE r.relkind IN ('r', 'p', 'f', 'v', 'm') AND a.attnum > 0 AND NOT a.attisdropped
)
SELECT c.relation, c.attname::text, c.type, CASE WHEN c.attnotnull THEN 'no' ELSE 'yes' END,
       CASE WHEN c.owned AND c.default = c.nextval THEN '' ELSE c.default END,
       CASE WHEN c.owned AND c.default = c.nextval THEN 'd' ELSE c.attidentity::text END,
       c.attgenerated::text,
       (SELECT quote_ident(cn.nspname) || '.' || quote_ident(k.collname)
        FROM pg_collation k JOIN pg_namespace cn ON cn.oid = k.collnamespace
        WHERE k.oid = c.collation),
       CASE WHEN c.owned AND c.default = c.nextval THEN 'serial'
            WHEN c.attidentity <> '' THEN 'identity' END,
       CASE WHEN c.default = c.nextval THEN c.sequence END,
       (row_number() OVER (PARTITION BY c.attrelid ORDER BY c.attnum))::text,
       CASE WHEN c.relkind IN ('v', 'm') THEN 'view' WHEN c.attinhcount > 0 THEN 'parent' END
FROM col c
"""

# Constraints of tables: table, name, type, columns, definition, valid, deferrable. Not those that a
# partition has from its parent; NOT NULL (contype n, 18) is the column's, and a constraint trigger
# (t) is read as trigger. PostgreSQL 14 to 18.
_CONSTRAINTS = """
SELECT r.name, c.conname::text, c.contype::text,
       (SELECT string_agg(a.attname::text, ',' ORDER BY k.place)
        FROM unnest(c.conkey) WITH ORDINALITY k(number, place)
        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number),
       regexp_replace(pg_get_constraintdef(c.oid), ' NOT VALID$', ''),
       CASE WHEN c.convalidated THEN 'yes' ELSE 'no' END,
       CASE WHEN c.condeferrable THEN 'yes' ELSE 'no' END
FROM relation r JOIN pg_constraint c ON c.conrelid = r.oid
WHERE c.contype IN ('p', 'u', 'f', 'c', 'x') AND c.conparentid = 0
  AND (c.conislocal OR c.coninhcount = 0)
"""

# Indexes that back no constraint: table, name, definition without the name, unique, key columns
# (or expressions), valid, predicate. Not those that a partition has from its parent.
# PostgreSQL 14 to 18.
_INDEXES = """
SELECT r.name, x.relname::text,
       'CREATE ' || CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || 'INDEX ON '
           || substr(d.definition, 1 + length('CREATE INDEX ' || quote_ident(x.relname) || ' ON ')
                     + CASE WHEN i.indisunique THEN length('UNIQUE ') ELSE 0 END),
       CASE WHEN i.indisunique THEN 'yes' ELSE 'no' END,
       (SELECT string_agg(coalesce(a.attname::text, pg_get_indexdef(x.oid, k.place::int, false)),
                          ',' ORDER BY k.place)
        FROM unnest(i.indkey) WITH ORDINALITY k(number, place)
        LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
                                AND k.number <> 0
        WHERE k.place <= i.indnkeyatts),
       CASE WHEN i.indisvalid AND i.indisready AND i.indislive THEN 'yes' ELSE 'no' END,
       pg_get_expr(i.indpred, i.indrelid)
FROM relation r JOIN pg_index i ON i.indrelid = r.oid JOIN pg_class x ON x.oid = i.indexrelid
CROSS JOIN LATERAL (SELECT pg_get_indexdef(x.oid) AS definition) d
WHERE r.relkind IN ('r', 'p', 'm') AND NOT x.relispartition
  AND NOT EXISTS (SELECT FROM pg_constraint k
                  WHERE k.conindid = x.oid AND k.contype IN ('p', 'u', 'x'))
"""

# Sequences: table and column that it belongs to, then what it is; not where it stands.
# PostgreSQL 14 to 18.
_SEQUENCES = """
SELECT n.nspname || '.' || o.relname, s.name, a.attname::text, format_type(q.seqtypid, NULL),
       q.seqstart::text, q.seqincrement::text, q.seqmin::text, q.seqmax::text,
       CASE WHEN q.seqcycle THEN 'yes' ELSE 'no' END
FROM relation s JOIN pg_sequence q ON q.seqrelid = s.oid
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid
    AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
LEFT JOIN pg_class o ON o.oid = d.refobjid LEFT JOIN pg_namespace n ON n.oid = o.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum = d.refobjsubid
"""

# Views: name with schema, name, form, definition, options, the relations that it reads.
# PostgreSQL 14 to 18.
_VIEWS = """
SELECT r.name, r.relname::text,
       CASE r.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END,
       rtrim(pg_get_viewdef(r.oid), '; '), array_to_string(r.reloptions, ', '),
       (SELECT string_agg(DISTINCT n.nspname || '.' || b.relname, ',')
        FROM pg_rewrite w JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
        JOIN pg_class b ON d.refclassid = 'pg_class'::regclass AND b.oid = d.refobjid
        JOIN space n ON n.oid = b.relnamespace
        WHERE w.ev_class = r.oid AND b.oid <> r.oid)
FROM relation r WHERE r.relkind IN ('v', 'm')
"""

# Triggers, but not those that PostgreSQL made itself: table, name, definition, whether it fires.
# PostgreSQL 14 to 18.
_TRIGGERS = """
SELECT r.name, t.tgname::text, pg_get_triggerdef(t.oid), t.tgenabled::text
FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid
WHERE NOT t.tgisinternal AND t.tgparentid = 0
"""

# Row security policies: table, name, command, permissive, roles, USING, WITH CHECK.
# PostgreSQL 14 to 18.
_POLICIES = """
SELECT r.name, p.polname::text,
       CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                     WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
       CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
       (SELECT string_agg(o.role, ', ' ORDER BY o.role)
        FROM (SELECT CASE WHEN u.id = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(u.id)) END
              FROM unnest(p.polroles) u(id)) o(role)),
       pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
FROM relation r JOIN pg_policy p ON p.polrelid = r.oid
"""

# Functions, procedures and aggregates: '', name with argument types, form, what it returns,
# definition. Not those that come with a range type. PostgreSQL 14 to 18.
_FUNCTIONS = """
SELECT '', n.nspname || '.' || f.proname || '(' || pg_get_function_identity_arguments(f.oid) || ')',
       CASE f.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END,
       pg_get_function_result(f.oid),
       CASE f.prokind WHEN 'a' THEN
           format('CREATE OR REPLACE AGGREGATE %I.%I(%s) (SFUNC = %s, STYPE = %s%s%s)',
                  n.nspname, f.proname, pg_get_function_identity_arguments(f.oid),
                  g.aggtransfn::regproc, format_type(g.aggtranstype, NULL),
                  CASE WHEN g.aggfinalfn <> 0 THEN ', FINALFUNC = ' || g.aggfinalfn::regproc::text
                       ELSE '' END,
                  ', INITCOND = ' || quote_literal(g.agginitval))
       ELSE pg_get_functiondef(f.oid) END
FROM pg_proc f JOIN space n ON n.oid = f.pronamespace
LEFT JOIN pg_aggregate g ON g.aggfnoid = f.oid
WHERE NOT EXISTS (SELECT FROM pg_depend e WHERE e.deptype IN ('e', 'i')
                  AND e.classid = 'pg_proc'::regclass AND e.objid = f.oid)
"""


@dataclass(frozen=True)
class Question:
    """A query for one kind of object.

    It returns table, name and then the ``facts`` of each object.
    """

    kind: str
    facts: tuple[str, ...]
    sql: str


QUESTIONS = (
    Question("schema", (), _OURS + _SCHEMAS),
    Question("extension", ("version", "schema"), _EXTENSIONS),
    Question(
        "type",
        ("form", "labels", "base", "nullable", "default", "constraints", "attributes"),
        _OURS + _TYPES,
    ),
    Question("collation", ("provider", "locale", "deterministic"), _OURS + _COLLATIONS),
    Question(
        "table",
        (
            *("form", "persistence", "partition key", "partition bound", "parent"),
            *("row security", "forced row security", "options", "access method"),
        ),
        _OURS + _TABLES,
    ),
    Question(
        "column",
        (
            *("type", "nullable", "default", "identity", "generated", "collation"),
            *("written", "sequence", "position", "from"),
        ),
        _OURS + _COLUMNS,
    ),
    Question(
        "constraint",
        ("type", "columns", "definition", "valid", "deferrable"),
        _OURS + _CONSTRAINTS,
    ),
    Question("index", ("definition", "unique", "columns", "valid", "predicate"), _OURS + _INDEXES),
    Question(
        "sequence",
        ("column", "type", "start", "increment", "minimum", "maximum", "cycle"),
        _OURS + _SEQUENCES,
    ),
    Question("view", ("form", "definition", "options", "reads"), _OURS + _VIEWS),
    Question("trigger", ("definition", "enabled"), _OURS + _TRIGGERS),
    Question(
        "policy", ("command", "permissive", "roles", "using", "with check"), _OURS + _POLICIES
    ),
    Question("function", ("form", "returns", "definition"), _OURS + _FUNCTIONS),
)
