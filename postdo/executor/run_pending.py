"""Run all pending migrations inside a transaction that is already open.

The project's own ``migrate`` command runs them, so that signals, routers and commands that an app
overrides behave as always. Django expects that each migration has a transaction of its own. Three
things make one transaction for all of them equivalent:

1. After each migration, deferred constraints are checked, as COMMIT would check them.
2. What PostgreSQL ends at COMMIT (SET LOCAL, temporary tables) is ended after each migration
   (``transaction_scope``).
3. CONCURRENTLY is removed from CREATE INDEX and similar statements, since PostgreSQL refuses it in
   a transaction. The plan says who is blocked by that.

Connections that a migration opens itself are read-only meanwhile (``connection_guard``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Protocol
from unittest.mock import patch

from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from postdo.base.project import load_command
from postdo.base.signals import END
from postdo.django_migrations.executor import pending_migrations
from postdo.django_migrations.history import Name, dotted
from postdo.executor.connection_guard import ConnectionGuard
from postdo.executor.transaction_scope import TransactionScope

# CREATE [UNIQUE] INDEX, DROP INDEX, REINDEX and DETACH PARTITION; REFRESH MATERIALIZED VIEW may
# run in a transaction as it is. PostgreSQL 14 to 18.
# It may follow comments; within several statements at once the server refuses it anyway.
CONCURRENTLY = re.compile(
    r"^((?:\s|--[^\n]*\n|/\*.*?\*/)*"
    r"(?:CREATE\s+(?:UNIQUE\s+)?INDEX|DROP\s+INDEX|REINDEX\s+(?:\([^)]*\)\s*)?\w+"
    r"|ALTER\s+TABLE\b[^;]*\bDETACH\s+PARTITION\s+\S+))\s+CONCURRENTLY\b",
    re.IGNORECASE | re.DOTALL,
)


DJANGOS = "django.core.management.commands.migrate"


class LeftPendingError(Exception):
    """The project's own ``migrate`` ended without an error, but migrations are still pending."""

    def __init__(self, module: str, left: Sequence[Name]) -> None:
        super().__init__(
            f"the project's own migrate command ({module}) leaves {len(left)} migrations pending, "
            f"from {dotted((left[0],))} on"
        )


class Observer(Protocol):
    """Is told about each migration, in the session that runs it."""

    def begins(self, name: Name, migration: Any) -> None:
        """Called before the first statement of a migration. May raise, to stop there."""

    def ended(self, name: Name) -> None:
        """Called after a migration's last statement, its record, and its deferred constraints."""


def run_pending(worker: BaseDatabaseWrapper, observer: Observer) -> None:
    """Send pre_migrate, run all pending migrations, send post_migrate: in the open transaction.

    ``worker`` is ``connections["default"]``, inside ``atomic()``. Raises whatever Django and the
    migrations raise.
    """
    end, others = TransactionScope(worker), ConnectionGuard(worker)

    def reach() -> None:
        others.check()
        end.reach()

    with without_concurrently(worker), end.watching(), others.reading_only():
        run_migrate(_Progress(observer, reach, end.begin))
        others.check()


def run_plainly(observer: Observer) -> None:
    """Run pending migrations as Django does: each atomic one commits its own transaction."""
    run_migrate(_Progress(observer))


def progress(observer: Observer) -> Callable[..., None]:
    """A progress callback for Django's executor, where each migration is kept by itself."""
    return _Progress(observer)


def run_migrate(progress: Callable[..., None]) -> None:
    """Run the ``migrate`` command that a person would get, and tell ``progress`` each step.

    Raises ``LeftPendingError`` if an app's own command leaves migrations unapplied.
    """
    command: Any = load_command("migrate")
    with (
        patch.object(os, "_exit", _only_in_children(os.getpid())),
        patch.object(MigrationExecutor, "__init__", _telling(progress)),
    ):
        call_command(
            command, database=DEFAULT_DB_ALIAS, interactive=False, verbosity=0, no_color=True
        )
    if type(command).__module__ != DJANGOS:
        _require_all_applied(type(command).__module__)


def _telling(progress: Callable[..., None]) -> Callable[..., None]:
    """Instead of ``MigrationExecutor.__init__`` (Django 4.2 to 6.1): who made it is told too.

    An app's own command may have a callback of its own, or call Django's command itself.
    """
    plain: Callable[..., None] = MigrationExecutor.__init__

    def make(executor: MigrationExecutor, connection: Any, progress_callback: Any = None) -> None:
        def both(action: str, migration: Any = None, fake: bool = False) -> None:
            progress(action, migration, fake)
            if progress_callback is not None:
                progress_callback(action, migration, fake)

        ours = connection is not None and connection.alias == DEFAULT_DB_ALIAS
        plain(executor, connection, both if ours else progress_callback)

    return make


def _require_all_applied(module: str) -> None:
    executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
    left = pending_migrations(executor)
    if left:
        raise LeftPendingError(module, [(one.app_label, one.name) for one in left])


def _only_in_children(own: int) -> Callable[[int], None]:
    """Instead of ``os._exit``: with 0 it would look as if everything were applied.

    A child that a migration forks may end so, and has to.
    """

    def leave(code: int) -> None:
        if os.getpid() != own:
            END(code)
        raise SystemExit(code or "os._exit(0)")

    return leave


@contextmanager
def without_concurrently(worker: BaseDatabaseWrapper) -> Iterator[None]:
    """Build and drop indexes without CONCURRENTLY inside the block, as a transaction requires."""
    with ExitStack() as stack:
        # The outermost one, so that who watches the statements sees what is really sent.
        worker.execute_wrappers.insert(0, _plainly)
        stack.callback(worker.execute_wrappers.remove, _plainly)
        with suppress(ImportError):
            from django.contrib.postgres.operations import (  # noqa: PLC0415  needs a driver
                NotInTransactionMixin,
            )

            stack.enter_context(
                patch.object(NotInTransactionMixin, "_ensure_not_in_transaction", _may_be)
            )
        yield


def _may_be(_operation: object, _schema_editor: object) -> None:
    """Instead of Django's refusal to make an index concurrently inside a transaction."""


def _plainly(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
    plain = CONCURRENTLY.sub(r"\1", sql) if isinstance(sql, str) else sql
    return execute(plain, params, many, context)


class _Progress:
    """Django's progress callback (``MigrationExecutor``, 4.2 to 6.1)."""

    def __init__(
        self,
        observer: Observer,
        end: Callable[[], None] = lambda: None,
        begin: Callable[..., None] = lambda **_: None,
    ) -> None:
        self._observer = observer
        self._end = end
        self._begin = begin

    def __call__(self, action: str, migration: Any = None, fake: bool = False) -> None:
        if migration is None:
            return
        name = (migration.app_label, migration.name)
        if action == "apply_start":
            self._observer.begins(name, migration)
            self._begin(atomic=bool(migration.atomic))
        elif action == "apply_success":
            self._end()
            self._observer.ended(name)
