"""Real CONCURRENTLY: indexes on big tables are built while everybody goes on writing.

Each migration is kept as soon as it is done, as Django makes it, so this promises less than one
transaction: a failure leaves what was done, and perhaps an unfinished index. A repeat goes on from
there: it removes an unfinished index and builds it anew, and leaves one alone that is there as it
should be.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from postdo.apply import django_migrate
from postdo.base import sqlstates
from postdo.base.console import Stopwatch
from postdo.base.context import Run
from postdo.base.database import rows, sqlstate
from postdo.django_migrations.history import History

MODE = "concurrent"
PAUSE_SECONDS = 0.5  # between two attempts: who waited behind us gets its turn

CONCURRENTLY = re.compile(r"\bCONCURRENTLY\b", re.IGNORECASE)
_NAME = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
# CREATE INDEX CONCURRENTLY, by Django or by hand: start, name, table, rest. PostgreSQL 14 to 18.
CREATE_INDEX = re.compile(
    r"^(?:\s|--[^\n]*\n|/\*.*?\*/)*(?P<create>CREATE\s+(?:UNIQUE\s+)?INDEX\s+)CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    rf"(?P<name>{_NAME})\s+ON\s+(?:ONLY\s+)?(?P<table>(?:{_NAME}\s*\.\s*)?{_NAME})(?P<rest>.*)$",
    re.IGNORECASE | re.DOTALL,
)
# The index of this name beside a table: its name for a statement, whether it is finished, its
# definition, and the name of its table as it stands in that. PostgreSQL 14 to 18.
INDEX = """
SELECT format('%%I.%%I', n.nspname, c.relname), i.indisvalid AND i.indisready,
       pg_get_indexdef(c.oid), format('%%I.%%I', tn.nspname, t.relname)
FROM pg_class owner JOIN pg_class c ON c.relnamespace = owner.relnamespace
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_index i ON i.indexrelid = c.oid
JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
WHERE owner.oid = to_regclass(%s) AND c.relname = (parse_ident(%s))[1]
"""
# An empty table like another, gone with its transaction; it hides nobody's, and nobody sees it.
MODEL = "postdo_index_model"
CREATE_MODEL = f"CREATE TEMPORARY TABLE {MODEL} (LIKE %s) ON COMMIT DROP"
# The definition of an index of the model. PostgreSQL 14 to 18.
DEFINITION = "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s::regclass"


def apply_concurrently(
    run: Run,
    session: BaseDatabaseWrapper,
    before: History,
) -> tuple[str, ...]:
    """Apply all pending migrations, with indexes built CONCURRENTLY. Returns them as ``app.name``.

    ``session`` holds the lock. Raises what ``django_migrate.apply`` raises; ``NotUndone`` names
    what is kept, what failed, and what is left.
    """
    run.console.say(
        "concurrent mode: migrations are applied one by one, no statement waits long for a lock, "
        "and a failure is not rolled back. A migration that fails can stay half applied; the next "
        "run continues from there"
    )
    return django_migrate.apply(run, session, before, _concurrently)


@contextmanager
def _concurrently(run: Run, worker: BaseDatabaseWrapper) -> Iterator[None]:
    guard = _Guard(run, worker)
    with (
        worker.execute_wrapper(guard),
        patch.object(MigrationExecutor, "apply_migration", _patiently(run)),
    ):
        yield


def _patiently(run: Run) -> Callable[..., Any]:
    """``MigrationExecutor.apply_migration`` (Django 4.2 to 6.1), tried again without a lock."""
    once = MigrationExecutor.apply_migration

    def apply_migration(
        executor: MigrationExecutor, state: Any, migration: Any, *args: Any, **options: Any
    ) -> Any:
        retry = _LockRetry(run, f"{migration.app_label}.{migration.name}")
        while True:
            try:
                # The state is changed while a migration runs, so each attempt gets its own.
                return once(executor, state.clone(), migration, *args, **options)
            except DatabaseError as error:
                if not migration.atomic:
                    raise
                retry.wait(error)

    return apply_migration


class _LockRetry:
    """For how long something is tried again that did not get a lock."""

    def __init__(self, run: Run, what: str) -> None:
        self._run = run
        self._what = what
        self._watch = Stopwatch()

    def wait(self, error: DatabaseError) -> None:
        """Before the next attempt. Raises the error if there should be none."""
        if (
            sqlstate(error) not in sqlstates.LOCK_CONFLICTS
            or self._watch.seconds > self._run.config.policies.lock_retry_seconds
        ):
            raise error
        self._run.console.say(f"{self._what} did not get a lock; trying again")
        time.sleep(PAUSE_SECONDS)


class _Guard:
    """Looks at each statement of the migrations before it is sent (Django's execute_wrapper)."""

    def __init__(self, run: Run, worker: BaseDatabaseWrapper) -> None:
        self._run = run
        self._limited: Any = None  # the driver's connection whose waits are limited
        # Now, because what is set within a transaction is gone if that is rolled back.
        self._limit(worker)

    def __call__(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        worker: BaseDatabaseWrapper = context["connection"]
        if worker.in_atomic_block:
            return execute(sql, params, many, context)
        # In autocommit a statement that got no lock did nothing, and can be sent again.
        retry = _LockRetry(self._run, "a statement")
        while True:
            try:
                return self._alone(worker, execute, sql, params, many, context)
            except DatabaseError as error:
                retry.wait(error)

    def _alone(
        self,
        worker: BaseDatabaseWrapper,
        execute: Callable[..., Any],
        sql: Any,
        *arguments: Any,
    ) -> Any:
        self._limit(worker)
        text = str(sql)
        if not CONCURRENTLY.search(text):
            return execute(sql, *arguments)
        # It waits until transactions end, without being in anybody's way.
        rows(worker, "SET lock_timeout = 0")
        self._limited = None
        create = CREATE_INDEX.match(text)
        there = create and self._is_there(worker, create)
        result = None if there else execute(sql, *arguments)
        self._limit(worker)
        return result

    def _limit(self, worker: BaseDatabaseWrapper) -> None:
        """Let the session wait for a lock no longer than the policies say; once a connection."""
        if self._limited is not worker.connection:
            rows(worker, f"SET lock_timeout = {self._run.config.policies.lock_timeout_ms}")
            self._limited = worker.connection

    def _is_there(self, worker: BaseDatabaseWrapper, create: re.Match[str]) -> bool:
        """Whether an earlier attempt built this index; an unfinished one is removed."""
        found = rows(worker, INDEX, create["table"], create["name"])
        if not found:
            return False
        index, finished, definition, table = found[0]
        if not finished:
            self._run.console.say(f"removing the unfinished index {create['name']}")
            rows(worker, f"DROP INDEX CONCURRENTLY {index}")
            return False
        if definition.replace(f" ON {table} USING ", " USING ", 1) != _wanted(worker, create):
            return False  # PostgreSQL says that the name is taken
        self._run.console.say(f"index {create['name']} already exists, as it should be")
        return True


def _wanted(worker: BaseDatabaseWrapper, create: re.Match[str]) -> str | None:
    """The definition of the index that the statement would make, without its table.

    ``None`` if it cannot be tried on a model of the table.
    """
    rows(worker, "BEGIN")
    try:
        rows(worker, CREATE_MODEL % create["table"])
        rows(worker, f"{create['create']} {create['name']} ON pg_temp.{MODEL} {create['rest']}")
        ((definition,),) = rows(worker, DEFINITION, MODEL)
    except DatabaseError:
        return None
    finally:
        rows(worker, "ROLLBACK")
    return re.sub(rf" ON \S*{MODEL} USING ", " USING ", str(definition), count=1)
