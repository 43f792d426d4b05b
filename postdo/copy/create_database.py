"""A new, empty database that is like the one a session is connected to."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.database import message, rows

# Builds a statement on the server, which quotes by its own rules: %I an identifier, %L a literal.
FORMAT = "SELECT format(%s, VARIADIC %s::text[])"
# What CREATE DATABASE is told: name, encoding, collation, character type, provider (none in 14),
# locale, ICU rules, tablespace (none if the role may not use it). The columns for the locale
# differ, so they are read by name: daticulocale 15 and 16, datlocale 17 on. PostgreSQL 14 to 18.
LIKENESS = """
SELECT d.datname, pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,
       to_jsonb(d) ->> 'datlocprovider',
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'),
       to_jsonb(d) ->> 'daticurules',
       CASE WHEN has_tablespace_privilege(t.oid, 'CREATE') THEN t.spcname END
FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace
WHERE d.datname = current_database()
"""
# The settings of this database: role (empty for all), whether that is who logged in, and the
# settings as 'name=value'. PostgreSQL 14 to 18.
SETTINGS = """
SELECT coalesce(r.rolname, ''), coalesce(r.rolname = session_user, false), s.setconfig
FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole
WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY s.setrole <> 0, r.rolname
"""
# Owner, whether that is the current role, connection limit, comment, and whether anybody ever
# granted or revoked something. PostgreSQL 14 to 18.
RIGHTS = """
SELECT pg_get_userbyid(datdba), pg_get_userbyid(datdba) = current_user, datconnlimit,
       shobj_description(oid, 'pg_database'), datacl IS NOT NULL
FROM pg_database WHERE datname = current_database()
"""
# Who may do what with this database: role (PUBLIC for all), privilege, whether it can be passed
# on. PostgreSQL 14 to 18.
GRANTS = """
SELECT coalesce(quote_ident(r.rolname), 'PUBLIC'), a.privilege_type, a.is_grantable
FROM pg_database d CROSS JOIN aclexplode(d.datacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
WHERE d.datname = current_database()
"""
# The extensions that only a superuser may create, as a rule. PostgreSQL 14 to 18.
UNTRUSTED = """
SELECT e.extname FROM pg_extension e
JOIN pg_available_extension_versions v ON v.name = e.extname AND v.version = e.extversion
WHERE v.superuser AND NOT v.trusted AND e.extname <> 'plpgsql' ORDER BY e.extname
"""
DROP = "DROP DATABASE IF EXISTS %I WITH (FORCE)"  # PostgreSQL 13 and newer

PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}
# Settings whose value is a list of names, each quoted for itself: GUC_LIST_QUOTE in guc_tables.c.
LISTS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "temp_tablespaces",
    }
)
_LIST_ITEM = re.compile(r'"((?:[^"]|"")*)"|([^,\s]+)')


@dataclass(frozen=True)
class Likeness:
    """What a database gets when it is created and cannot change later.

    ``provider`` of its collation: ``c``, ``i``, ``b`` or none. ``locale``: of ICU or the builtin
    provider. ``tablespace``: ``None`` for the default one.
    """

    name: str
    encoding: str
    collate: str
    ctype: str
    provider: str | None
    locale: str | None
    rules: str | None
    tablespace: str | None


def likeness(session: BaseDatabaseWrapper) -> Likeness:
    """The likeness of the database that the session is connected to."""
    return Likeness(*rows(session, LIKENESS)[0])


def create_statement(
    name: str, owner: str, template: str, like: Likeness
) -> tuple[str, tuple[str, ...]]:
    """CREATE DATABASE as a template for the server's ``format()``, and the values for it."""
    parts = ["CREATE DATABASE %I OWNER %I TEMPLATE %I ENCODING %L LC_COLLATE %L LC_CTYPE %L"]
    values = [name, owner, template, like.encoding, like.collate, like.ctype]
    if like.provider:
        parts.append(f"LOCALE_PROVIDER {PROVIDERS[like.provider]}")
    if like.locale and like.provider in ("i", "b"):
        parts.append("ICU_LOCALE %L" if like.provider == "i" else "BUILTIN_LOCALE %L")
        values.append(like.locale)
    if like.rules:
        parts.append("ICU_RULES %L")
        values.append(like.rules)
    if like.tablespace:
        parts.append("TABLESPACE %I")
        values.append(like.tablespace)
    return " ".join(parts), tuple(values)


def create(
    session: BaseDatabaseWrapper, name: str, creator: BaseDatabaseWrapper, template: str
) -> None:
    """Create an empty database like the session's, owned by its role. Raises Django's errors.

    ``creator``: the session that creates it, of that role or of a member of it.
    """
    ((owner,),) = rows(session, "SELECT current_user")
    statement, values = create_statement(name, owner, template, likeness(session))
    execute(creator, statement, *values)


def untrusted(session: BaseDatabaseWrapper) -> frozenset[str]:
    """Extensions of the session's database that usually only a superuser may create."""
    return frozenset(name for (name,) in rows(session, UNTRUSTED))


def provides(template: BaseDatabaseWrapper, session: BaseDatabaseWrapper) -> bool:
    """Whether a copy of this template would be like the session's database, with its extensions."""
    ours, theirs = likeness(session), likeness(template)
    same = replace(theirs, name=ours.name, tablespace=ours.tablespace) == ours
    return same and untrusted(session) <= untrusted(template)


def copy_settings(session: BaseDatabaseWrapper, name: str) -> tuple[str, ...]:
    """Give database ``name`` this role's settings for it. Returns those that could not be set."""
    missed: list[str] = []
    for role, is_ours, settings in rows(session, SETTINGS):
        if not role or is_ours:
            missed += _set(session, "ALTER DATABASE %I", (name,), settings)
    return tuple(missed)


def copy_rights(session: BaseDatabaseWrapper, name: str) -> tuple[str, ...]:
    """Copy comment, connection limit, privileges, owner, and the settings for all roles.

    Returns what could not be copied, in words.
    """
    missed: list[str] = []
    for role, _, settings in rows(session, SETTINGS):
        if role:
            missed += _set(session, "ALTER ROLE %I IN DATABASE %I", (role, name), settings)
        else:
            missed += _set(session, "ALTER DATABASE %I", (name,), settings)
    ((owner, is_ours, limit, comment, granted),) = rows(session, RIGHTS)
    execute(session, f"ALTER DATABASE %I CONNECTION LIMIT {limit:d}", name)
    if comment:
        execute(session, "COMMENT ON DATABASE %I IS %L", name, comment)
    if not is_ours:
        execute(session, "ALTER DATABASE %I OWNER TO %I", name, owner)
    if granted:
        execute(session, "REVOKE ALL ON DATABASE %I FROM PUBLIC, %I", name, owner)
    for grantee, privilege, passed_on in rows(session, GRANTS):
        option = " WITH GRANT OPTION" if passed_on and grantee != "PUBLIC" else ""
        execute(session, f"GRANT {privilege} ON DATABASE %I TO %s{option}", name, grantee)
    return tuple(missed)


def drop(session: BaseDatabaseWrapper, name: str) -> None:
    """Drop a database and end the sessions on it, if it exists. Raises Django's errors."""
    execute(session, DROP, name)


def execute(session: BaseDatabaseWrapper, template: str, *values: str) -> None:
    """Run a statement that takes no parameters; the server quotes the values into it."""
    ((statement,),) = rows(session, FORMAT, template, list(values))
    rows(session, statement)


def set_clause(setting: str) -> tuple[str, tuple[str, ...]]:
    """``SET …`` for one ``name=value`` of the catalogue, as a template and its values."""
    key, _, value = setting.partition("=")
    if key.lower() not in LISTS:
        return "SET %I TO %L", (key, value)
    items = [plain or quoted.replace('""', '"') for quoted, plain in _LIST_ITEM.findall(value)]
    items = items or [""]
    return f"SET %I TO {', '.join(['%L'] * len(items))}", (key, *items)


def _set(
    session: BaseDatabaseWrapper, whose: str, names: tuple[str, ...], settings: list[str]
) -> list[str]:
    missed = []
    for setting in settings:
        clause, values = set_clause(setting)
        try:
            execute(session, f"{whose} {clause}", *names, *values)
        except DatabaseError as error:  # some belong to superusers alone
            missed.append(f"{setting.partition('=')[0]} ({message(error)})")
    return missed
