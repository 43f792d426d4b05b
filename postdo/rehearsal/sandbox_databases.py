"""Choose which databases Django's connections lead to during a rehearsal.

The default alias, and each alias of the same database or of a standby of it, leads to the copy.
Other databases are not copied: they can be read where the server enforces that (PostgreSQL,
SQLite), and are closed otherwise. This changes the whole process, so only the worker process does
it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import OperationalError

from postdo.base import sqlstates
from postdo.base.database import Kinship, kinship, sqlstate
from postdo.executor.commit_status import text_of
from postdo.rehearsal import limits
from postdo.rehearsal.limits import marked
from postdo.rehearsal.sandbox import OUTSIDE
from postdo.rehearsal.server_statements import beyond

CONNECTING = ("ENGINE", "HOST", "PORT", "NAME", "USER", "PASSWORD", "OPTIONS")
# By vendor: what keeps a session from writing.
READ_ONLY = {
    "postgresql": "SET default_transaction_read_only = on",
    "sqlite": "PRAGMA query_only = ON",
}
# What would let it write after all.
_UNLOCKS = re.compile(
    r"\bREAD\s+WRITE\b|\b(?:default_)?transaction_read_only\b|\bquery_only\b", re.IGNORECASE
)


def use_database(name: str, port: int = 0) -> None:
    """Point the settings to this database of the project's server.

    To be called before ``django.setup()``. ``port``: of another server at the same address.
    """
    databases: dict[str, dict[str, Any]] = settings.DATABASES
    ours = dict(databases[DEFAULT_DB_ALIAS])
    place = {"NAME": name, "PORT": str(port or ours.get("PORT") or "")}
    related = {alias: kinship(alias) for alias in databases}
    for alias, entry in databases.items():
        if related[alias] is Kinship.OTHER:
            continue
        if related[alias] in (Kinship.MIRROR, Kinship.STANDBY):
            # Read where routers send reads; a write there fails, as it does on the real one.
            entry.update({key: ours.get(key) for key in CONNECTING if key in ours})
        entry["HOST"] = ours.get("HOST", "")
        options = dict(entry.get("OPTIONS") or {})
        for spare in ("pool", "dbname", "database"):
            options.pop(spare, None)
        entry.update(place, OPTIONS=options)
    _guard_connections(place, related)


def _guard_connections(place: Mapping[str, str], related: Mapping[str, Kinship]) -> None:
    connect: Callable[[BaseDatabaseWrapper], None] = BaseDatabaseWrapper.connect

    def guarded(wrapper: BaseDatabaseWrapper) -> None:
        kin = related.get(wrapper.alias, Kinship.OTHER)
        leads = all(str(wrapper.settings_dict[key] or "") == value for key, value in place.items())
        if kin is Kinship.OTHER or not leads:
            _connect_to_read(wrapper, connect)
            return
        connect(wrapper)
        if kin is Kinship.STANDBY:
            _execute(wrapper, READ_ONLY["postgresql"])

    BaseDatabaseWrapper.connect = guarded  # type: ignore[assignment,method-assign]


def _connect_to_read(
    wrapper: BaseDatabaseWrapper, connect: Callable[[BaseDatabaseWrapper], None]
) -> None:
    if wrapper.vendor not in READ_ONLY or wrapper.alias == DEFAULT_DB_ALIAS:
        OUTSIDE.note(f"database {wrapper.alias}")
        closed = OperationalError(f"the database '{wrapper.alias}' is closed in the rehearsal")
        raise marked(closed, limits.DATABASE)
    connect(wrapper)
    _execute(wrapper, READ_ONLY[wrapper.vendor])

    def look(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        text = text_of(sql, context)
        if _UNLOCKS.search(text) or beyond(text):
            raise _only_read(wrapper)
        try:
            return execute(sql, params, many, context)
        except DatabaseError as error:
            read_only = sqlstate(error) == sqlstates.READ_ONLY_SQL_TRANSACTION
            if read_only or "readonly database" in str(error):  # the second is SQLite's
                raise _only_read(wrapper) from None
            raise

    wrapper.execute_wrappers.append(look)


def _only_read(wrapper: BaseDatabaseWrapper) -> OperationalError:
    OUTSIDE.note(f"database {wrapper.alias}, to write")
    error = OperationalError(f"the database '{wrapper.alias}' can only be read in the rehearsal")
    return marked(error, limits.DATABASE)


def _execute(wrapper: BaseDatabaseWrapper, sql: str) -> None:
    connection: Any = wrapper.connection
    with wrapper.wrap_database_errors:
        cursor = connection.cursor()
        cursor.execute(sql)
        cursor.close()
    if not wrapper.get_autocommit():
        connection.commit()
