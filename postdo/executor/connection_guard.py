"""Make other connections of a migration read-only while all migrations share one transaction.

A thread, a second alias of the same database, or a direct use of the driver opens a session with a
transaction of its own. What it writes would stay even if the release is rolled back. So these
sessions may read, but when one writes, PostgreSQL raises an error, and the plan tries the mode
``swap`` instead.

Two kinds of sessions are out of reach: those that another thread opened before, and those that use
neither Django nor the driver's ``connect``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from django.db import DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from postdo.base import sqlstates
from postdo.base.database import rows, sqlstate
from postdo.executor.driver_guard import look_at, name_in, with_settings

READ_ONLY = "SET default_transaction_read_only = on"
# Which database of which server this is, by whatever address; and for how long to wait for a lock.
# PostgreSQL 14 to 18.
IDENTITY = "SELECT current_database(), pg_postmaster_start_time()"
LOCK_TIMEOUT = "SELECT current_setting('lock_timeout')"


class ConnectionGuard:
    """Keeps the project's other sessions on the database of ``worker`` from writing.

    What they write would stay if the one transaction of the release is rolled back.
    """

    def __init__(self, worker: BaseDatabaseWrapper) -> None:
        self._worker = worker
        self._identity: list[tuple[Any, ...]] = []
        self._lock_timeout = ""
        self._error: DatabaseError | None = None
        self._process = os.getpid()

    @contextmanager
    def reading_only(self) -> Iterator[None]:
        """Make other sessions read-only inside the block, so that what they try to write fails."""
        self._identity = rows(self._worker, IDENTITY)
        ((self._lock_timeout,),) = rows(self._worker, LOCK_TIMEOUT)
        self._close()
        connection_created.connect(self._opened)
        unlook = look_at(self._by_the_driver)
        try:
            yield
        finally:
            unlook()
            connection_created.disconnect(self._opened)
            self._close()

    def check(self) -> None:
        """Raise the error of a session that tried to write, even if the migration caught it."""
        if self._error is not None:
            raise self._error

    def _close(self) -> None:
        """What is open by now, so that it is opened anew: read-only inside, as usual afterwards."""
        for connection in connections.all(initialized_only=True):
            if connection is not self._worker:
                with suppress(DatabaseError, InterfaceError):
                    connection.close()

    def _opened(self, connection: BaseDatabaseWrapper, **_: object) -> None:
        # In a child that a migration forks, the default connection is another session too.
        is_worker = connection is self._worker and os.getpid() == self._process
        if is_worker or connection.vendor != "postgresql" or _is_ours(connection):
            return
        if rows(connection, IDENTITY) != self._identity:
            return
        rows(connection, READ_ONLY)
        if not connection.get_autocommit():
            connection.commit()
        if self._listen not in connection.execute_wrappers:
            connection.execute_wrappers.append(self._listen)

    def _by_the_driver(self, parameters: dict[str, str]) -> Mapping[str, str]:
        """By its name alone: who can tell by how many addresses a server is reached."""
        ((name, _),) = self._identity
        if name_in(parameters) not in (name, ""):
            return {}
        return with_settings(
            parameters, default_transaction_read_only="on", lock_timeout=self._lock_timeout
        )

    def _listen(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        try:
            return execute(sql, params, many, context)
        except DatabaseError as error:
            if sqlstate(error) == sqlstates.READ_ONLY_SQL_TRANSACTION:
                self._error = error
            raise


def _is_ours(connection: BaseDatabaseWrapper) -> bool:
    """Of ``database.connect``, which names them; a copy that a migration makes has no such name."""
    options = connection.settings_dict["OPTIONS"]
    return str(options.get("application_name", "")).startswith("postdo ")
