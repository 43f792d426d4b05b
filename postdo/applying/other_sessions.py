"""Further sessions of a migration's own with the database: what they write, nobody takes back.

A thread, or a second alias of the same database, has its own transaction. It may read; where it
writes, the migrations cannot run in one transaction, and end there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from postdo.database import rows, sqlstate

READ_ONLY = "SET default_transaction_read_only = on"
REFUSED = "25006"  # read_only_sql_transaction
ADDRESS = ("HOST", "PORT", "NAME")


class OtherSessions:
    """Keeps the project's other sessions with the database of ``worker`` from writing."""

    def __init__(self, worker: BaseDatabaseWrapper) -> None:
        self._worker = worker
        self._error: DatabaseError | None = None

    @contextmanager
    def reading_only(self) -> Iterator[None]:
        """Inside, what another session tries to write fails."""
        connection_created.connect(self._opened)
        try:
            yield
        finally:
            connection_created.disconnect(self._opened)

    def check(self) -> None:
        """Raise the error of a session that tried to write, wherever that was caught."""
        if self._error is not None:
            raise self._error

    def _opened(self, connection: BaseDatabaseWrapper, **_: object) -> None:
        # Sessions of our own are not among the project's.
        if connection is self._worker or connections[connection.alias] is not connection:
            return
        if any(connection.settings_dict[key] != self._worker.settings_dict[key] for key in ADDRESS):
            return
        rows(connection, READ_ONLY)
        if not connection.get_autocommit():
            connection.commit()
        if self._listen not in connection.execute_wrappers:
            connection.execute_wrappers.append(self._listen)

    def _listen(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        try:
            return execute(sql, params, many, context)
        except DatabaseError as error:
            if sqlstate(error) == REFUSED:
                self._error = error
            raise
