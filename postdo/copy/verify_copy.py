"""Compare a copied database with its original, beyond tables and rows.

A dump does not contain, or this role could not restore: the owner, the privileges and the settings
of the database, and the owners and privileges of its objects. The schema catalogue does not have
them either.
"""

from __future__ import annotations

from contextlib import suppress

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.database import rows

SHOWN = 5  # differences that a person gets to see

# One text per fact of a database, seen from any database of the server. PostgreSQL 14 to 18.
DATABASE = """
SELECT fact FROM pg_database d CROSS JOIN LATERAL (
  SELECT 'owner ' || pg_get_userbyid(d.datdba)
  UNION ALL SELECT 'encoding ' || pg_encoding_to_char(d.encoding)
  UNION ALL SELECT 'collation ' || d.datcollate || ' ' || d.datctype
  UNION ALL SELECT 'connection limit ' || d.datconnlimit
  UNION ALL SELECT 'privilege ' || a::text
  FROM unnest(coalesce(d.datacl, acldefault('d', d.datdba))) a
  UNION ALL SELECT 'setting of ' || coalesce(r.rolname, 'all') || ': ' || item
  FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole
  CROSS JOIN unnest(s.setconfig) item WHERE s.setdatabase = d.oid
) AS facts(fact) WHERE d.datname = %s
"""
# Every object that is neither the server's nor an extension's, as GRANT names it, with the column
# where one has privileges of its own; owner; privileges (NULL: the usual ones), and the usual ones.
# PostgreSQL 14 to 18.
OBJECT = """
WITH own AS (
  SELECT oid, nspname FROM pg_namespace
  WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), object(class, id, target, part, owner, acl, usual) AS (
  SELECT 'pg_namespace'::regclass, oid, format('SCHEMA %I', nspname), '', nspowner, nspacl,
         acldefault('n', nspowner)
  FROM pg_namespace WHERE oid IN (SELECT oid FROM own)
  UNION ALL
  SELECT 'pg_class'::regclass, c.oid, format('%s %I.%I',
           CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, nspname, relname), '', relowner,
         relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)
  FROM pg_class c JOIN own n ON n.oid = c.relnamespace
  WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  UNION ALL
  SELECT 'pg_class'::regclass, c.oid, format('TABLE %I.%I', nspname, relname),
         format('(%I)', attname), relowner, attacl, NULL
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN own n ON n.oid = c.relnamespace
  WHERE attacl IS NOT NULL AND NOT attisdropped
  UNION ALL
  SELECT 'pg_proc'::regclass, p.oid, format('ROUTINE %I.%I(%s)', nspname, proname,
           pg_get_function_identity_arguments(p.oid)), '', proowner, proacl,
         acldefault('f', proowner)
  FROM pg_proc p JOIN own n ON n.oid = p.pronamespace
  UNION ALL
  SELECT 'pg_type'::regclass, t.oid, format('TYPE %I.%I', nspname, typname), '', typowner, typacl,
         acldefault('T', typowner)
  FROM pg_type t JOIN own n ON n.oid = t.typnamespace
  WHERE typtype IN ('e', 'd', 'r')
     OR EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c')
), ours AS (
  SELECT * FROM object WHERE NOT EXISTS (SELECT FROM pg_depend d
    WHERE d.classid = class AND d.objid = id AND d.objsubid = 0 AND d.deptype = 'e')
)
"""
# One text per owner and privilege of every object. PostgreSQL 14 to 18.
OBJECTS = f"""{OBJECT}
SELECT target || ' owner ' || pg_get_userbyid(owner) FROM ours
UNION ALL SELECT target || part || ' privilege ' || a::text
FROM ours CROSS JOIN unnest(coalesce(acl, usual)) a
UNION ALL SELECT format('EXTENSION %I version %s', extname, extversion) FROM pg_extension
UNION ALL
SELECT format('default of %s for %s in %s: %s', pg_get_userbyid(defaclrole), defaclobjtype,
              defaclnamespace::regnamespace, a)
FROM pg_default_acl CROSS JOIN unnest(defaclacl) a
"""  # noqa: S608  all of it is ours
# The statements that give these privileges to the same objects elsewhere: first those that take
# the usual ones away. Schemas come last, because nobody reaches an object in one without USAGE, not
# even who owns both: from 15 on, public belongs to pg_database_owner. PostgreSQL 14 to 18.
PRIVILEGES = f"""{OBJECT}
SELECT statement FROM (
  SELECT CASE class WHEN 'pg_namespace'::regclass THEN 5 ELSE 1 END,
         format('REVOKE ALL ON %s FROM PUBLIC, %I', target, pg_get_userbyid(owner))
  FROM ours WHERE acl IS NOT NULL AND part = ''
  UNION ALL
  SELECT CASE class WHEN 'pg_namespace'::regclass THEN 6 ELSE 2 END,
         format('GRANT %s %s ON %s TO %s', a.privilege_type, part, target,
                   coalesce(quote_ident(r.rolname), 'PUBLIC'))
         || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
  FROM ours CROSS JOIN aclexplode(acl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
  UNION ALL
  SELECT 3, format('ALTER DEFAULT PRIVILEGES FOR ROLE %1$I REVOKE ALL ON %2$s FROM PUBLIC, %1$I',
                   pg_get_userbyid(defaclrole),
                   CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES'
                                      WHEN 'f' THEN 'ROUTINES' WHEN 'n' THEN 'SCHEMAS'
                                      ELSE 'TYPES' END)
  FROM pg_default_acl WHERE defaclnamespace = 0
  UNION ALL
  SELECT 4, format('ALTER DEFAULT PRIVILEGES FOR ROLE %I %s GRANT %s ON %s TO %s',
                   pg_get_userbyid(defaclrole),
                   CASE WHEN defaclnamespace <> 0
                        THEN 'IN SCHEMA ' || defaclnamespace::regnamespace ELSE '' END,
                   a.privilege_type,
                   CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES'
                                      WHEN 'f' THEN 'ROUTINES' WHEN 'n' THEN 'SCHEMAS'
                                      ELSE 'TYPES' END,
                   coalesce(quote_ident(r.rolname), 'PUBLIC'))
         || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
  FROM pg_default_acl CROSS JOIN aclexplode(defaclacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
) AS ordered(place, statement) ORDER BY place
"""  # noqa: S608  all of it is ours
# Each object as GRANT names it, and its id. PostgreSQL 14 to 18.
NAMES = OBJECT + "SELECT target, class::oid::text || ' ' || id FROM ours WHERE part = ''"  # noqa: S608
# The statements that give an object that is made anew its owner and privileges: its name, and each
# statement, with the ending of a line that a person is shown. PostgreSQL 14 to 18.
RIGHTS = f"""{OBJECT}
SELECT target, statement || ';' FROM (
  SELECT 0, target, format('ALTER %s OWNER TO %I', target, pg_get_userbyid(owner))
  FROM ours WHERE part = '' AND pg_get_userbyid(owner) <> current_user
  UNION ALL
  SELECT 1, target, format('REVOKE ALL ON %s FROM PUBLIC, %I', target, pg_get_userbyid(owner))
  FROM ours WHERE acl IS NOT NULL AND part = ''
  UNION ALL
  SELECT 2, target, format('GRANT %s %s ON %s TO %s', a.privilege_type, part, target,
                           coalesce(quote_ident(r.rolname), 'PUBLIC'))
                    || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
  FROM ours CROSS JOIN aclexplode(acl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
) AS ordered(place, target, statement) ORDER BY place, statement
"""  # noqa: S608  all of it is ours


def objects(session: BaseDatabaseWrapper) -> dict[str, str]:
    """The ids of all objects that have privileges, by the name that GRANT uses."""
    return dict(rows(session, NAMES))


def rights(session: BaseDatabaseWrapper, names: frozenset[str]) -> tuple[str, ...]:
    """Statements that give these objects their owner and privileges when they are recreated."""
    return tuple(statement for name, statement in rows(session, RIGHTS) if name in names)


def give_privileges(original: BaseDatabaseWrapper, copy: BaseDatabaseWrapper) -> None:
    """Copy the privileges of the original to the copy, as far as this role may.

    For a role that is no superuser, whose restore leaves them out. ``differences`` finds the rest.
    """
    for (statement,) in rows(original, PRIVILEGES):
        with suppress(DatabaseError):
            rows(copy, statement)


def differences(
    original: BaseDatabaseWrapper, copy: BaseDatabaseWrapper, name: str, copy_name: str
) -> tuple[str, ...]:
    """In what a fresh copy differs from its original beyond tables and rows; the first few."""
    wanted = _facts(original, DATABASE, name) | _facts(original, OBJECTS)
    there = _facts(original, DATABASE, copy_name) | _facts(copy, OBJECTS)
    missing = (f"missing in the copy: {fact}" for fact in sorted(wanted - there))
    more = (f"only in the copy: {fact}" for fact in sorted(there - wanted))
    return tuple([*missing, *more][:SHOWN])


def _facts(session: BaseDatabaseWrapper, sql: str, *values: object) -> set[str]:
    return {fact for (fact,) in rows(session, sql, *values)}
