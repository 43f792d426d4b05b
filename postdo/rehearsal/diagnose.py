"""Explain why migrations failed: the error, the place, the SQL, and the rows that cause it.

An error of PostgreSQL such as "column contains null values" does not say which rows. So after a
failure, this module reads the failed statement and the server's diagnostics, writes a query for the
rows that violate it (NULLs, duplicates, missing references, values that do not fit a new type), and
runs it on the copy, for at most ``EXAMPLE_MS``. At most ``EXAMPLES`` rows are shown.

It also decides whether only the shared transaction can be the cause (``SINGLE_ONLY``), because then
a second attempt, with one transaction for each migration, may succeed.
"""

from __future__ import annotations

import re
import sys
import traceback
from contextlib import suppress
from typing import Any

from django.db import DatabaseError, Error, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

from postdo.base import sqlstates
from postdo.base.database import rows, sqlstate
from postdo.base.errors import PostdoError, one_line
from postdo.base.project import where
from postdo.executor.commit_status import TransactionControlError
from postdo.executor.run_pending import LeftPendingError
from postdo.rehearsal import limits
from postdo.rehearsal.limits import limit_of
from postdo.rehearsal.trace import Failure
from postdo.rehearsal.tracer import LONGEST_STATEMENT, Failing

# The files of RunPython and of GeneratedField (Django 4.2 to 6.1).
RUN_PYTHON = "django/db/migrations/operations/special.py"
GENERATED_FIELD = "django/db/models/fields/generated.py"

EXAMPLES = 5
LONGEST_EXAMPLE = 200  # characters; enough for a key, and not a whole document
EXAMPLE_MS = 10_000  # for one look at the copy

NOT_NULL, FOREIGN_KEY, UNIQUE, CHECK, TOO_LONG = (
    sqlstates.NOT_NULL_VIOLATION,
    sqlstates.FOREIGN_KEY_VIOLATION,
    sqlstates.UNIQUE_VIOLATION,
    sqlstates.CHECK_VIOLATION,
    sqlstates.STRING_DATA_RIGHT_TRUNCATION,
)
TOO_BIG, UNDEFINED = sqlstates.NUMERIC_VALUE_OUT_OF_RANGE, sqlstates.UNDEFINED_OBJECT
# What only one transaction for all can cause: an enum's new value used, what cannot run in a
# transaction block, an object in use (pending trigger events too), a lock held by another session
# of our own, an aborted transaction that a migration would have ended, the full table of locks,
# what such a session would have written (``connection_guard``).
SINGLE_ONLY = frozenset(
    {
        sqlstates.UNSAFE_NEW_ENUM_VALUE_USAGE,
        sqlstates.ACTIVE_SQL_TRANSACTION,
        sqlstates.OBJECT_IN_USE,
        sqlstates.LOCK_NOT_AVAILABLE,
        sqlstates.DEADLOCK_DETECTED,
        sqlstates.IN_FAILED_SQL_TRANSACTION,
        sqlstates.OUT_OF_MEMORY,
        sqlstates.READ_ONLY_SQL_TRANSACTION,
    }
)
DATA_CLASSES = ("22", "23")  # values and constraints; the same in any transaction

# The columns of a table's primary key, quoted. PostgreSQL 14 to 18.
KEY = """
SELECT quote_ident(a.attname) FROM pg_index i
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
WHERE i.indisprimary AND i.indrelid = to_regclass(%s)
"""
# A table's constraints by name, those that a project names itself first. PostgreSQL 14 to 18.
NAMES = """
SELECT conname::text, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = to_regclass(%s) AND contype <> 'n'
ORDER BY contype IN ('p', 'f'), conname LIMIT 5
"""
SET_TIMEOUT = "SELECT set_config('statement_timeout', %s, false)"

_NAME = r'(?:"[^"]+"|\w+)(?:\."[^"]+"|\.\w+)?'
_ALTERED = re.compile(rf"ALTER TABLE\s+(?:ONLY\s+)?({_NAME})", re.IGNORECASE)
_RETYPED = re.compile(rf"ALTER COLUMN\s+({_NAME})\s+TYPE\s+([\w ]+?)\((\d+)\)", re.IGNORECASE)
_SHRUNK = re.compile(
    rf"ALTER COLUMN\s+({_NAME})\s+TYPE\s+(smallint|integer|bigint|numeric\((\d+),\s*(\d+)\))",
    re.IGNORECASE,
)
_DROPPED = re.compile(r"\bDROP CONSTRAINT\b", re.IGNORECASE)
_BITS = {"smallint": 16, "integer": 32, "bigint": 64}
_CAST = re.compile(rf"ALTER COLUMN\s+({_NAME})\s+TYPE\b", re.IGNORECASE)
_CHECKED = re.compile(r"\bCHECK\s*(\(.*\))\s*;?\s*$", re.IGNORECASE | re.DOTALL)
_REFERS = re.compile(
    rf"FOREIGN KEY\s*\(({_NAME})\)\s*REFERENCES\s+({_NAME})\s*\(({_NAME})\)", re.IGNORECASE
)
_REFERS_INLINE = re.compile(rf"\bREFERENCES\s+({_NAME})\s*\(({_NAME})\)", re.IGNORECASE)
_DUPLICATE = re.compile(r"^Key \((.*)\)=\((.*)\) is duplicated")
_PARTIAL = re.compile(r"^\s*CREATE\s+UNIQUE\s+INDEX\b.*\sWHERE\s+(.*?)\s*;?\s*$", re.I | re.DOTALL)
_NULL = re.compile(r"(^|, )null(,|$)")
_VALUE = re.compile(r': "(.*)"$')


def describe(
    error: BaseException,
    *,
    migration: str = "",
    module: str = "",
    atomic: bool = True,
    failing: Failing | None = None,
    sessions: int = 1,
) -> Failure:
    """Describe an error of a run, without the rows that cause it.

    ``module`` and ``atomic``: of the migration. ``failing``: the last statement that failed.
    ``sessions``: how many sessions with the database the run had.
    """
    statement = _statement_of(error, failing)
    return Failure(
        migration=migration,
        what=_what(error),
        place=where(error) or str(getattr(sys.modules.get(module), "__file__", None) or ""),
        sqlstate=sqlstate(error) or "",
        statement=statement.sql[:LONGEST_STATEMENT] if statement else "",
        rows=(),
        single_only=_single_only(error, atomic=atomic, sessions=sessions),
        in_python=_passes(error, RUN_PYTHON) or not migration or in_handlers(error),
        generated=_passes(error, GENERATED_FIELD),
        limit=limits.COMMAND if isinstance(error, LeftPendingError) else limit_of(error),
    )


def _passes(error: BaseException, file: str) -> bool:
    """Whether an error came through a file of Django's."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_filename.endswith(file) for frame, _ in frames)


def in_handlers(error: BaseException) -> bool:
    """Whether the error was raised in a handler of post_migrate."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_name == "emit_post_migrate_signal" for frame, _ in frames)


def _what(error: BaseException) -> str:
    if isinstance(error, (Error, PostdoError, LeftPendingError)):
        return one_line(error)
    return f"{type(error).__name__}: {one_line(error)}"


def _statement_of(error: BaseException, failing: Failing | None) -> Failing | None:
    """The failed statement, if it is why this error came up, and was not caught by the code."""
    cause: BaseException | None = error
    while cause is not None and failing is not None:
        if cause is failing.error:
            return failing
        cause = cause.__cause__ or cause.__context__
    return None


def _single_only(error: BaseException, *, atomic: bool, sessions: int) -> bool:
    if isinstance(error, TransactionManagementError | TransactionControlError):
        return True
    if isinstance(error, RuntimeError) and "durable" in str(error):
        return True
    state = sqlstate(error) or ""
    if state in SINGLE_ONLY:
        return True
    # What another session does not see, and what a migration without a transaction expects of its
    # commits, can fail in any way but on the data's own account.
    return (sessions > 1 or not atomic) and not state.startswith(DATA_CLASSES)


def examples(
    session: BaseDatabaseWrapper, error: BaseException, failing: Failing | None
) -> tuple[str, ...]:
    """Up to five rows that cause the error, from the copy after its rollback.

    Rows that the run itself made exist only in the error's DETAIL, which is returned then.
    """
    found: tuple[str, ...] = ()
    statement = _statement_of(error, failing)
    with suppress(DatabaseError, InterfaceError):
        rows(session, SET_TIMEOUT, str(EXAMPLE_MS))
        found = _look(session, error, statement)
    detail = _detail(error, "message_detail")
    return found or ((_short(detail),) if detail else ())


def _look(
    session: BaseDatabaseWrapper, error: BaseException, failing: Failing | None
) -> tuple[str, ...]:
    sql = _plain_sql(failing)
    table = _table(error, sql)
    look = _LOOKS.get(sqlstate(error) or "", _not_castable)
    return look(session, error, table, sql) if table else ()


def _plain_sql(failing: Failing | None) -> str:
    if failing is None:
        return ""
    return failing.sql.replace("%%", "%") if failing.interpolated else failing.sql


def _table(error: BaseException, sql: str) -> str:
    name = _quoted(_detail(error, "table_name"))
    if name:
        schema = _quoted(_detail(error, "schema_name"))
        return f"{schema}.{name}" if schema else name
    altered = _ALTERED.search(sql)
    return altered[1] if altered else ""


def _rows(
    session: BaseDatabaseWrapper, table: str, column: str, condition: str, *values: object
) -> tuple[str, ...]:
    """``id=7, name=NULL`` for the rows of a table that meet a condition."""
    shown = [name for (name,) in rows(session, KEY, table)]
    if column and column not in shown:
        shown.append(column)
    if not shown:
        return ()
    sql = f"SELECT {', '.join(shown)} FROM {table} WHERE {condition} LIMIT {EXAMPLES}"  # noqa: S608
    return tuple(_pairs(shown, row) for row in rows(session, sql, *values))


def _nulls(
    session: BaseDatabaseWrapper, error: BaseException, table: str, _: str
) -> tuple[str, ...]:
    column = _quoted(_detail(error, "column_name"))
    return _rows(session, table, column, f"{column} IS NULL") if column else ()


def _duplicates(
    session: BaseDatabaseWrapper, error: BaseException, table: str, statement: str
) -> tuple[str, ...]:
    duplicate = _DUPLICATE.match(_detail(error, "message_detail"))
    if not duplicate:
        return ()
    columns, values = duplicate.groups()
    partial = _PARTIAL.search(statement)
    conditions = [f"({partial[1]})"] if partial else []
    if not _NULL.search(values):  # else NULLS NOT DISTINCT; as a rule one NULL is no other's equal
        conditions.append(f"ROW({columns}) IS NOT NULL")
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    sql = (
        f"SELECT ROW({columns})::text, count(*) FROM {table} {where}"  # noqa: S608  the server's words
        f"GROUP BY {columns} HAVING count(*) > 1 ORDER BY 2 DESC LIMIT {EXAMPLES}"
    )
    found = rows(session, sql)
    return tuple(_short(f"({columns})={value}: {count} rows") for value, count in found)


def _orphans(
    session: BaseDatabaseWrapper, error: BaseException, table: str, sql: str
) -> tuple[str, ...]:
    refers = _REFERS.search(sql)
    inline = _REFERS_INLINE.search(sql)
    column = re.match(r"^Key \(([^,]+)\)=", _detail(error, "message_detail"))
    if refers:
        own, other, key = refers.groups()
    elif inline and column:
        own, (other, key) = column[1], inline.groups()
    else:
        return ()
    # A column of the referring table has to be named with it: the other may have one like it.
    there = f"SELECT FROM {other} AS referred WHERE referred.{key} = {table}.{own}"
    return _rows(session, table, own, f"{own} IS NOT NULL AND NOT EXISTS ({there})")


def _unchecked(
    session: BaseDatabaseWrapper, _: BaseException, table: str, sql: str
) -> tuple[str, ...]:
    check = _CHECKED.search(sql)
    return _rows(session, table, "", f"NOT {check[1]}") if check else ()


def _named_otherwise(
    session: BaseDatabaseWrapper, _: BaseException, table: str, sql: str
) -> tuple[str, ...]:
    """The constraints that there are, where one is dropped by a name that it does not have."""
    if not _DROPPED.search(sql):
        return ()
    return tuple(_pairs(["conname", "definition"], row) for row in rows(session, NAMES, table))


def _too_long(
    session: BaseDatabaseWrapper, _: BaseException, table: str, sql: str
) -> tuple[str, ...]:
    retyped = _RETYPED.search(sql)
    if not retyped:
        return ()
    column, length = retyped[1], retyped[3]
    return _rows(session, table, column, f"length({column}::text) > {length}")


def _too_big(
    session: BaseDatabaseWrapper, _: BaseException, table: str, sql: str
) -> tuple[str, ...]:
    shrunk = _SHRUNK.search(sql)
    if not shrunk:
        return ()
    column, kind, digits, places = shrunk.groups()
    value = f"round({column}::numeric, {places or 0})"
    if digits:
        return _rows(session, table, column, f"abs({value}) >= 1e{int(digits) - int(places)}")
    most = 2 ** (_BITS[kind.lower()] - 1)
    return _rows(session, table, column, f"{value} NOT BETWEEN {-most} AND {most - 1}")


def _not_castable(
    session: BaseDatabaseWrapper, error: BaseException, table: str, sql: str
) -> tuple[str, ...]:
    cast, value = _CAST.search(sql), _VALUE.search(one_line(error))
    if not (cast and value):
        return ()
    return _rows(session, table, cast[1], f"{cast[1]}::text = %s", value[1])


_LOOKS = {
    NOT_NULL: _nulls,
    FOREIGN_KEY: _orphans,
    UNIQUE: _duplicates,
    CHECK: _unchecked,
    TOO_LONG: _too_long,
    TOO_BIG: _too_big,
    UNDEFINED: _named_otherwise,
}


def _pairs(names: list[str], row: tuple[Any, ...]) -> str:
    values = ("NULL" if value is None else str(value) for value in row)
    return _short(
        ", ".join(
            f"{name.strip(chr(34))}={value}" for name, value in zip(names, values, strict=True)
        )
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_EXAMPLE else line[:LONGEST_EXAMPLE] + " ..."


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if name else ""


def _detail(error: BaseException, field: str) -> str:
    """A field of what the server said, by psycopg2 or psycopg 3; empty where there is none."""
    for cause in (error, error.__cause__):
        found = getattr(getattr(cause, "diag", None), field, None)
        if found:
            return str(found)
    return ""
