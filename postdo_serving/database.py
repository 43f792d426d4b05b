"""The database connections of a worker's threads: the same answers with fewer round trips.

A page that reads once costs Django four of them by itself: ``SELECT 1``, which tests the connection
that was kept (CONN_HEALTH_CHECKS), BEGIN (ATOMIC_REQUESTS), the query, and COMMIT. Two are saved
where nothing depends on them, and no setting of the project changes (docs/decisions/serving.md):

- A connection that was used a moment ago is tested by asking the kernel whether anything has
  arrived on it. A server that ends, however it ends, closes its connections; one that says
  something unasked is tested as Django does it.
- BEGIN waits for the first statement that is more than a plain SELECT (`is_plain_select`). Until
  then there is nothing that a rollback could take back, and in READ COMMITTED each statement sees
  what is committed when it begins, in a transaction or not. So writes are as atomic as before, and
  a request that only reads needs no BEGIN and no COMMIT. Nor does it hold locks while its page is
  made, for which a migration would wait. psycopg2 only; psycopg 3 sends them as before.
"""

from __future__ import annotations

import re
import select
import sys
import time
from functools import lru_cache
from typing import Any

# Seconds since a connection was last looked at, after which it is tested by a query. A machine that
# vanishes closes nothing, and only an answer tells of that.
QUIET = 5.0

# What may stand before a parenthesis in a plain SELECT: words of SQL, and functions that Django's
# ORM writes and that change nothing. Any other function could write, or take a lock.
BEFORE_PARENTHESIS = """
    all and any array as between by case distinct else except exists filter from having in intersect
    join like not on or over select some then union using values when where
    abs avg bool_and bool_or btrim cast ceiling coalesce concat count date_part date_trunc extract
    floor greatest least left length lower lpad ltrim max min mod nullif power replace reverse right
    round row_number rpad rtrim sign sqrt stddev_pop stddev_samp strpos substring sum trim upper
    var_pop var_samp char decimal numeric varchar
"""
HARMLESS = frozenset(BEFORE_PARENTHESIS.split())
QUOTED = re.compile(r'"[^"]*"')
# Literals, comments, other statements, parameters of another kind: none of it is Django's ORM's.
UNUSUAL = re.compile(r"[;'\"\\$`]|--|/\*")
# Locks, new tables, and what depends on when the transaction began.
MORE_THAN_READ = re.compile(r"\b(for|into|current_\w+|localtime\w*|now)\b", re.IGNORECASE)
CALLED = re.compile(r"([A-Za-z_][\w.]*)\s*\(")
ISOLATION = re.compile("isolation", re.IGNORECASE)  # also in default_transaction_isolation


@lru_cache(maxsize=1024)
def is_plain_select(statement: str) -> bool:
    """Whether this statement only reads, whatever its parameters are. In doubt it does not."""
    if not statement.startswith("SELECT "):
        return False
    bare = QUOTED.sub("name", statement)
    if UNUSUAL.search(bare) or MORE_THAN_READ.search(bare):
        return False
    return all(name.lower() in HARMLESS for name in CALLED.findall(bare))


def save_round_trips() -> None:
    """Do so for Django's connections to PostgreSQL that this process opens from now on."""
    if "django.db" not in sys.modules:
        return
    from django.db.backends.postgresql import base, psycopg_any  # noqa: PLC0415 - or no Django

    _test_without_query(base.DatabaseWrapper)
    if not psycopg_any.is_psycopg3:
        from postdo_serving.deferred_begin import begin_when_needed  # noqa: PLC0415

        begin_when_needed(base.DatabaseWrapper, base.Cursor)


def _test_without_query(wrapper: Any) -> None:
    """Let `wrapper`, Django's class, skip the query of a health check where the kernel will do."""
    test_by_query = wrapper.close_if_health_check_failed

    def close_if_health_check_failed(self: Any) -> None:
        if self.connection is None or not self.health_check_enabled or self.health_check_done:
            return
        now = time.monotonic()
        # The driver's own object, since Django's outlives it.
        connection, looked_at = getattr(self, "_postdo_looked_at", (None, now))
        self._postdo_looked_at = (self.connection, now)
        is_fresh = connection is self.connection and now - looked_at < QUIET
        if is_fresh and is_silent(self.connection):
            self.health_check_done = True
        else:
            test_by_query(self)

    wrapper.close_if_health_check_failed = close_if_health_check_failed


def is_silent(connection: Any) -> bool:
    """Whether the driver's connection is open, and nothing waits to be read from it."""
    try:
        waiting = select.poll()
        waiting.register(connection.fileno(), select.POLLIN | select.POLLPRI)
        return not waiting.poll(0)
    except Exception:  # noqa: BLE001 - the driver's: it is closed, or in no state to tell
        return False
