"""End after each migration what PostgreSQL would end with the migration's own transaction.

When all migrations share one transaction, the effects of SET LOCAL, of SET CONSTRAINTS and of
temporary tables with ON COMMIT would last until the end of the release, and change what later
migrations do. An example: ``SET LOCAL session_replication_role = replica`` disables foreign keys,
so a later migration could insert rows that violate them. ``TransactionScope`` watches the
statements of each migration for these effects, and reverts them when the migration ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.database import rows
from postdo.executor.commit_status import text_of

CHECK_CONSTRAINTS = "SET CONSTRAINTS ALL IMMEDIATE"
DEFER = "SET CONSTRAINTS ALL DEFERRED"
# Constraints that are not deferred unless asked for, as this role may name them. 14 to 18.
AT_ONCE = """
SELECT string_agg(DISTINCT format('%I.%I', n.nspname, c.conname), ', ')
FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
WHERE c.condeferrable AND NOT c.condeferred AND n.nspname !~ '^pg_(toast|temp)'
  AND has_schema_privilege(n.oid, 'USAGE')
"""
# A setting, NULL if there is none of this name; and the same set again, if it is one and another
# value by now: a text that only looks so (a comment in a function) names none, and the role may not
# set all of them. PostgreSQL 14 to 18.
VALUE = "SELECT current_setting(%s::text, true)"
RESTORE = """
SELECT set_config(was.name, was.value, true) FROM (VALUES (%s::text, %s::text)) AS was(name, value)
WHERE current_setting(was.name, true) <> was.value
"""

SET_LOCAL = re.compile(r'\bSET\s+LOCAL\s+(SESSION\s+AUTHORIZATION|"[^"]+"|[\w.]+)', re.I)
SET_CONFIG = re.compile(r"\bset_config\s*\(\s*(?:'([^']+)')?", re.I)
LOCALLY = re.compile(r",\s*'?(?:true|t|on|1)'?\s*(?:::\s*\w+\s*)?\)", re.I)
# What SET calls otherwise than the setting that it sets.
SPELLINGS = {
    "time": "timezone",
    "schema": "search_path",
    "names": "client_encoding",
    "xml": "xmloption",
    "session authorization": "session_authorization",
}
NAME = re.compile(r"[A-Za-z_][\w.]*")
# Before these, what is deferred is checked in a migration that is not atomic: by itself each of its
# statements (or blocks) ends a transaction, and no trigger event is left pending for the next.
ALONE = re.compile(
    r"^(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:SAVEPOINT|ALTER|CREATE|DROP|TRUNCATE|REINDEX|CLUSTER)\b",
    re.I | re.DOTALL,
)
TEMPORARY = re.compile(
    r"\bCREATE\s+(?:(?:LOCAL|GLOBAL)\s+)?TEMP(?:ORARY)?\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    r'(?:pg_temp\s*\.\s*)?("(?:[^"]|"")+"|\w+)[^;]*?\bON\s+COMMIT\s+(DROP|DELETE)\b',
    re.I,
)


class TransactionScope:
    """Watches one session, and ends with each migration what its own COMMIT would have ended.

    All migrations share one transaction here, so PostgreSQL does not do it at their ends. It
    concerns deferred constraints, ``SET LOCAL``, and temporary tables with ON COMMIT.
    """

    def __init__(self, worker: BaseDatabaseWrapper) -> None:
        self._worker = worker
        self._settings: dict[str, str | None] = {}
        self._temporary: dict[str, str] = {}
        self._blocks: int | None = None  # how many are open around a migration that is not atomic

    def begin(self, *, atomic: bool) -> None:
        """Note the state before a migration. ``atomic``: of the migration."""
        self._blocks = None if atomic else len(self._worker.savepoint_ids)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at statements before they are sent, inside the block."""
        with self._worker.execute_wrapper(self._look):
            yield

    def reach(self) -> None:
        """Check deferred constraints, then restore the state from before the migration."""
        self._blocks = None
        with self._worker.cursor() as cursor:  # Django's, so that who watches sees what fails
            cursor.execute(CHECK_CONSTRAINTS)
        for name, then in self._temporary.items():
            rows(
                self._worker,
                f"DROP TABLE IF EXISTS pg_temp.{name} CASCADE"
                if then == "DROP"
                else f"DELETE FROM pg_temp.{name}",  # noqa: S608  as the migration wrote it
            )
        for name, value in self._settings.items():
            rows(self._worker, RESTORE, name, value or "")
        self._temporary, self._settings = {}, {}
        self._defer()

    def _defer(self) -> None:
        rows(self._worker, DEFER)
        ((at_once,),) = rows(self._worker, AT_ONCE)
        if at_once:
            rows(self._worker, f"SET CONSTRAINTS {at_once} IMMEDIATE")

    def _is_alone(self) -> bool:
        """Whether a migration that is not atomic is outside of every block of its own."""
        worker = self._worker
        return not worker.needs_rollback and self._blocks == len(worker.savepoint_ids)

    def _look(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        text = text_of(sql, context)
        if self._is_alone() and ALONE.match(text):
            rows(self._worker, CHECK_CONSTRAINTS)
            self._defer()
        for name in _local_settings(text, params):
            if name not in self._settings and not self._worker.needs_rollback:
                self._settings[name] = rows(self._worker, VALUE, name)[0][0]
        done = execute(sql, params, many, context)
        for name, then in TEMPORARY.findall(text):
            self._temporary[name] = then.upper()
        return done


def _local_settings(sql: str, params: Any) -> list[str]:
    """The settings that a statement, or a function in it, sets until the transaction ends."""
    names = [" ".join(name.strip('"').lower().split()) for name in SET_LOCAL.findall(sql)]
    named = [SPELLINGS.get(name, name) for name in names]
    called = SET_CONFIG.findall(sql)
    values = params if isinstance(params, (list, tuple)) else ()
    if called and (LOCALLY.search(sql) or True in values):
        named += [name.lower() for name in called if name]
        named += [value for value in values if isinstance(value, str) and NAME.fullmatch(value)]
    return named
