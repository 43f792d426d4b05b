"""The session that migrates: Django's default connection, fresh, and with settings of our own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import atomic

from postdo.base import advisory_lock
from postdo.base.context import Run
from postdo.base.database import APPLICATION_NAME_BYTES, rows
from postdo.django_migrations import history
from postdo.django_migrations.history import COMMENT, UNFINISHED

# Sets, of these settings, those that the server knows. PostgreSQL 14 to 18.
SETTINGS = """
SELECT set_config(s.name, w.value, false)
FROM (VALUES ('statement_timeout', '0'), ('idle_in_transaction_session_timeout', '0'),
             ('idle_session_timeout', '0'), ('transaction_timeout', '0'),
             ('lock_timeout', %s), ('application_name', %s)) AS w(name, value)
JOIN pg_settings s USING (name)
"""
# HAZARDS 51: the server ends the work of a client that is gone, within a second; where its
# operating system can tell it. PostgreSQL 14 to 18.
CHECK_CLIENT = "SELECT set_config('client_connection_check_interval', '1s', false)"
# What was answered must last, also on a server that may lose a site's latest rows.
DURABLE = """
SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') = 'off'
"""


@contextmanager
def open_session() -> Iterator[BaseDatabaseWrapper]:
    """Yield the default connection, closed and outside any pool; afterwards it is as configured."""
    worker = connections[DEFAULT_DB_ALIAS]
    discard(worker)
    usual = worker.settings_dict
    options = {name: value for name, value in usual["OPTIONS"].items() if name != "pool"}
    worker.settings_dict = {**usual, "OPTIONS": options, "AUTOCOMMIT": True}
    try:
        yield worker
    finally:
        discard(worker)
        worker.settings_dict = usual


def begin(run: Run, worker: BaseDatabaseWrapper) -> None:
    """Connect for one transaction, and share the lock that tells others somebody is migrating."""
    worker.ensure_connection()
    name = f"postdo {run.config.host}".encode()[:APPLICATION_NAME_BYTES].decode(errors="ignore")
    rows(worker, SETTINGS, f"{run.config.policies.lock_timeout_ms}ms", name)
    rows(worker, DURABLE)
    with suppress(DatabaseError):
        rows(worker, CHECK_CLIENT)
    rows(worker, advisory_lock.SHARE, advisory_lock.WORK_KEY)
    forget_rolled_back_rows()


def discard(worker: BaseDatabaseWrapper) -> None:
    """Close the session, whatever state it is in; the server rolls back what is open."""
    with suppress(Exception):  # it may be broken in any way
        worker.close()
    # Left so by an exception in the middle of Django's own steps.
    worker.connection = None
    worker.in_atomic_block = worker.needs_rollback = worker.closed_in_transaction = False
    worker.savepoint_ids, worker.atomic_blocks, worker.run_on_commit = [], [], []


def is_lost(worker: BaseDatabaseWrapper) -> bool:
    """Whether the connection is broken or closed."""
    connection: Any = worker.connection
    return connection is None or bool(connection.closed)


def remove_mark(worker: BaseDatabaseWrapper) -> None:
    """Remove the mark of an unfinished ``migrate`` from the recorder's table, if we may.

    It is a prefix of the comment on ``django_migrations``.
    """
    ((_, comment),) = rows(worker, history.RECORDER)
    if comment and comment.startswith(UNFINISHED):
        with suppress(DatabaseError), atomic(using=DEFAULT_DB_ALIAS):
            ((statement,),) = rows(worker, COMMENT, comment.removeprefix(UNFINISHED))
            rows(worker, statement)


def forget_rolled_back_rows() -> None:
    """Empty the caches in which Django's own apps keep rows by their keys.

    After a rollback these rows do not exist (content types, sites).
    """
    if apps.is_installed("django.contrib.contenttypes"):
        from django.contrib.contenttypes.models import ContentType  # noqa: PLC0415  if installed

        ContentType.objects.clear_cache()
    if apps.is_installed("django.contrib.sites"):
        from django.contrib.sites.models import Site  # noqa: PLC0415  if installed

        Site.objects.clear_cache()
