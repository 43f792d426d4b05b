"""Detect a connection pooler that does not keep a session on one server process.

In transaction mode, a pooler gives each transaction to any server process. An advisory lock or a
setting then stays on a process that serves somebody else (HAZARDS 48). So this is checked before
the first lock is taken.
"""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.database import PID, closing, connect, message, rows
from postdo.plan.findings import Problem

CONNECT_SECONDS = 5.0  # for the second session that the question takes
# The server process that answers. PostgreSQL 14 to 18.


def pooler_problem(session: BaseDatabaseWrapper) -> Problem | None:
    """A blocking problem if ``session`` (in autocommit) does not stay on one server process.

    Advisory locks and settings belong to that process. It costs one statement on a direct
    connection, and a second connection behind a pooler.
    """
    connection: Any = session.connection
    ((pid,),) = rows(session, PID)
    # Told at connecting. PgBouncer makes up a number of its own; NAT and TCP proxies do not.
    if connection.info.backend_pid == pid:
        return None
    unsteady = _changes(session)
    if not unsteady:
        return None
    return Problem(
        48,
        f"a connection pooler in front of the database does not keep sessions: {unsteady}",
        "connect directly to PostgreSQL for migrations (its own host and port in DATABASE_URL), "
        "or set pool_mode = session in PgBouncer",
        blocking=True,
    )


def _changes(session: BaseDatabaseWrapper) -> str:
    """How the server process changed under us, or an empty string.

    A second session keeps one server process busy in a transaction: a pooler in transaction mode
    gives it the one that our session has just used, or gives ours another one afterwards.
    """
    ((first,),) = rows(session, PID)
    try:
        with closing(connect("postdo looks for a pooler", CONNECT_SECONDS)) as other:
            rows(other, "BEGIN")
            ((busy,),) = rows(other, PID)
            ((then,),) = rows(session, PID)
            rows(other, "ROLLBACK")
    except (DatabaseError, InterfaceError) as error:
        return f"a second session failed ({message(error)})"
    if busy == first:
        return f"two sessions got the same server process ({busy})"
    return f"one session got the processes {first} and {then}" if then != first else ""
