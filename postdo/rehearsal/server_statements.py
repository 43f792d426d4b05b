"""Refuse statements that change the database server, or act outside it, during a rehearsal.

The copy is a database on production's server, so it shares the roles, the settings and the other
databases with production. In one transaction, which is rolled back, CREATE ROLE or ALTER SYSTEM
does no harm. In the second attempt, where each migration commits, it would stay; there such a
statement is refused before it is sent. Statements that no rollback undoes are refused in both
attempts: COPY TO PROGRAM, files of the server, terminating other sessions, connections to other
servers.

A statement that a function builds at run time cannot be recognized in advance. So the roles and
settings are read before and after the second attempt (``state``, ``differences``), and the plan is
refused if they changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.database import rows
from postdo.executor.commit_status import text_of
from postdo.rehearsal import limits

# What belongs to all databases of a server. (ALTER DATABASE of the copy itself is looked at below.)
_SHARED = re.compile(
    r"""\b(?:
      (?:CREATE|ALTER|DROP)\s+(?:ROLE|USER(?!\s+MAPPING)|GROUP|DATABASE|TABLESPACE)
    | ALTER\s+SYSTEM | (?:REASSIGN|DROP)\s+OWNED
    | COMMENT\s+ON\s+(?:DATABASE|ROLE|TABLESPACE)
    | SECURITY\s+LABEL\b[^;]*?\bON\s+(?:DATABASE|ROLE|TABLESPACE)
    | (?:GRANT|REVOKE)\b[^;]*?\bON\s+(?:DATABASE|TABLESPACE|PARAMETER)
    | (?:GRANT|REVOKE)\s+(?:(?:ADMIN|INHERIT|SET)\s+OPTION\s+FOR\s+)?
      (?:"[^"]+"|\w+)(?:\s*,\s*(?:"[^"]+"|\w+))*\s+(?:TO|FROM)
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
# What no transaction takes back. PostgreSQL 14 to 18, and its own extensions.
_BEYOND = re.compile(
    r"""\bCOPY\b[^;]*?\b(?:TO|FROM)\s+PROGRAM\b | \bCOPY\b[^;]*?\bTO\s+'
    | \b(?:CREATE|ALTER|DROP)\s+SUBSCRIPTION\b
    | \bdblink(?:_exec|_connect|_connect_u|_open|_send_query)?\s*\(
    | \b(?:lo_export|pg_file_write|pg_file_unlink|pg_file_rename|pg_file_sync)\s*\(
    | \bpg_(?:terminate_backend|cancel_backend|reload_conf|rotate_logfile|promote|switch_wal)\s*\(
    | \bpg_(?:create|drop|copy)_\w*replication_slot\s*\(
    | \b(?:OPTIONS|ADD|SET|,)\s*\(?\s*program\s+'""",
    re.IGNORECASE | re.VERBOSE,
)
# What may carry another statement inside of it, as text.
_CARRIES = re.compile(
    r"\bDO\s*(?:LANGUAGE\b|\$|E?')|\b(?:FUNCTION|PROCEDURE|EXECUTE|CALL)\b", re.IGNORECASE
)
_COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_COMMENTS_AND_TEXTS = re.compile(
    r"(?P<comment>--[^\n]*|/\*.*?\*/)|'(?:[^']|'')*'|(?P<quote>\$(?:[^\W\d]\w*)?\$).*?(?P=quote)",
    re.DOTALL,
)
_BLOCK = re.compile(r"\s*DO\b", re.IGNORECASE)
_DEFINITION = re.compile(r"\bCREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE)\b", re.IGNORECASE)
_EXECUTE = re.compile(r"\bEXECUTE\b", re.IGNORECASE)
_BEGINNING = 1000  # characters of a statement that tell what it is
_ALTERED = re.compile(r'\bALTER\s+DATABASE\s+("(?:[^"]|"")+"|\w+)', re.IGNORECASE)
_OF_COPY = "current_database"

# Everything of the server that a migration could change and that this role may see: what it is,
# its name, and its state. Not of copies, which come and go. PostgreSQL 14 to 18.
STATE = """
SELECT 'role', rolname::text, row(rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin,
    rolreplication, rolconnlimit, rolvaliduntil, rolbypassrls)::text FROM pg_roles
UNION ALL SELECT 'membership', m.roleid::regrole::text || ' of ' || m.member::regrole::text, ''
FROM pg_auth_members m
UNION ALL SELECT 'database', d.datname::text, row(datdba, datallowconn, datconnlimit, datacl)::text
FROM pg_database d WHERE d.datname !~ '^postdo_'
UNION ALL SELECT 'settings', concat_ws(' in ', r.rolname, d.datname), s.setconfig::text
FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole
LEFT JOIN pg_database d ON d.oid = s.setdatabase WHERE coalesce(d.datname !~ '^postdo_', true)
UNION ALL SELECT 'tablespace', spcname::text, '' FROM pg_tablespace
UNION ALL SELECT 'comment', c.classoid::regclass::text || ' ' || c.objoid, c.description
FROM pg_shdescription c LEFT JOIN pg_database d ON d.oid = c.objoid AND c.classoid = 1262
WHERE coalesce(d.datname !~ '^postdo_', true)
"""
# ALTER SYSTEM's own file, for those who may read it. PostgreSQL 14 to 18.
SYSTEM_STATE = """
SELECT 'setting of the server', name, coalesce(setting, '') FROM pg_file_settings
WHERE sourcefile ~ 'postgresql.auto.conf$'
"""
MAY_SEE_SYSTEM = "SELECT has_function_privilege('pg_show_all_file_settings()', 'EXECUTE')"

State = dict[tuple[str, str], str]


class ServerChangeError(Exception):
    """A migration would change the database server, and not only the copy."""

    postdo_limit = limits.SERVER


@contextmanager
def refused(session: BaseDatabaseWrapper, copy: str, *, kept: bool, skip: bool) -> Iterator[None]:
    """Make statements that change the server raise ``ServerChangeError`` in this session.

    - ``copy``: the name of the database.
    - ``kept``: whether the run is committed, so that changes of roles and settings would stay.
    - ``skip``: pass over statements that do nothing else, because their effect is there already.
    """

    def check(text: str) -> None:
        found = beyond(text) or (shared(text, copy) if kept else "")
        if found:
            raise ServerChangeError(f"it runs {found}, which acts outside the copy")

    def look(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        text = text_of(sql, context)
        if skip and shared(text, copy) and _is_all(text):
            return None
        check(text)
        return execute(sql, params, many, context)

    connection: Any = session.connection
    usual = connection.cursor_factory
    connection.cursor_factory = _watched(connection, check)
    try:
        with session.execute_wrapper(look):
            yield
    finally:
        connection.cursor_factory = usual


def _watched(connection: Any, check: Callable[[str], None]) -> type:
    """The driver's cursors (psycopg2, psycopg 3), which a migration can use past Django's."""
    with connection.cursor() as cursor:
        usual: Any = type(cursor)

    def asking(name: str) -> Callable[..., Any]:
        def ask(self: Any, sql: Any, *args: Any, **options: Any) -> Any:
            check(text_of(sql, {"cursor": SimpleNamespace(cursor=self)}))
            return getattr(super(watched, self), name)(sql, *args, **options)

        return ask

    ways = ("execute", "executemany", "copy_expert", "copy", "stream")
    watched: Any = type(
        usual.__name__, (usual,), {name: asking(name) for name in ways if hasattr(usual, name)}
    )
    return cast("type", watched)


def shared(sql: str, copy: str) -> str:
    """The first words of what ``sql`` does to the server as a whole; empty if nothing."""
    text = _without_texts(sql)
    for found in _SHARED.finditer(text):
        words = " ".join(found[0].split()).upper()
        if words == "ALTER DATABASE":
            name = _ALTERED.match(text, found.start())
            if _OF_COPY in text or (name and name[1].strip('"') == copy):
                continue  # it goes with the copy
        return _short(words)
    return ""


def beyond(sql: str) -> str:
    """The first words of what no rollback takes back; empty if there is nothing.

    The body of a function that ``sql`` defines counts too.
    """
    found = _BEYOND.search(_without_texts(sql, functions=True))
    return _short(" ".join(found[0].rstrip("'(").split())) if found else ""


def state(session: BaseDatabaseWrapper) -> State:
    """What this role sees of the server: roles, settings and the like."""
    found = rows(session, STATE)
    ((may,),) = rows(session, MAY_SEE_SYSTEM)
    if may:
        found += rows(session, SYSTEM_STATE)
    return {(kind, name): what for kind, name, what in found}


def differences(before: State, after: State) -> tuple[str, ...]:
    """What has changed between two states, in words."""
    said = [f"{kind} {name} is new" for kind, name in after.keys() - before.keys()]
    said += [f"{kind} {name} is gone" for kind, name in before.keys() - after.keys()]
    both = before.keys() & after.keys()
    said += [f"{one[0]} {one[1]} has changed" for one in both if before[one] != after[one]]
    return tuple(sorted(said))


def _without_texts(sql: str, *, functions: bool = False) -> str:
    """What is run: no comments, and of texts only blocks (DO), and with ``functions`` their bodies.

    To define a function runs nothing of it.
    """
    kept, statement, end = [], "", 0
    for found in _COMMENTS_AND_TEXTS.finditer(sql):
        between, end = sql[end : found.start()], found.end()
        kept.append(between)
        if ";" in between:
            statement = between.rpartition(";")[2]
        elif len(statement) < _BEGINNING:
            statement += between
        if found["comment"]:
            kept.append(" ")
        elif _BLOCK.match(statement):
            kept.append(_of_block(found[0], found["quote"] or "'", functions=functions))
        elif functions and _DEFINITION.search(statement):
            kept.append(_COMMENTS.sub(" ", found[0]))
        else:
            kept.append("''")
    return "".join((*kept, sql[end:]))


def _of_block(text: str, quote: str, *, functions: bool) -> str:
    """The block without its own texts, unless it executes some: which ones, cannot be told."""
    if _EXECUTE.search(text):
        return _COMMENTS.sub(" ", text)
    inside = text[len(quote) : -len(quote)]
    return f"{quote}{_without_texts(inside, functions=functions)}{quote}"


def _is_all(sql: str) -> bool:
    """Whether nothing else is done by it."""
    parts = [part.strip() for part in _without_texts(sql).split(";") if part.strip()]
    return not _CARRIES.search(_without_texts(sql)) and all(_SHARED.match(part) for part in parts)


def _short(words: str, most: int = 60) -> str:
    return words if len(words) <= most else words[:most] + " ..."
