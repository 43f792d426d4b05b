"""Create the tables of the journal, and upgrade those of an older version.

They are in the schema ``postdo_journal`` of the project's own database. So a backup contains them,
and the record of a release is committed or rolled back together with it. (The schema is not named
``postdo``, because a role of that name would have it in its default search path, and PostgreSQL
would create the project's own tables there.)
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.database import rows

SCHEMA = "postdo_journal"

# Step n makes version n of version n - 1. What was released is never edited: a further step is
# added at the end. Read against PostgreSQL 14 to 18.
UPGRADES: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE postdo_journal.journal (
            one boolean PRIMARY KEY DEFAULT true CHECK (one),
            version integer NOT NULL,
            since timestamp with time zone NOT NULL DEFAULT now()
        )
        """,
        """
        CREATE TABLE postdo_journal.run (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            began timestamp with time zone NOT NULL,
            seconds double precision NOT NULL,
            outcome text NOT NULL,
            mode text NOT NULL,
            what text NOT NULL,
            release text NOT NULL,
            who text NOT NULL,
            checksum text NOT NULL,
            applied text[] NOT NULL,
            plan bytea NOT NULL
        )
        """,
        """
        CREATE TABLE postdo_journal.source (
            app text,
            name text,
            path text NOT NULL,
            checksum text NOT NULL,
            contents bytea NOT NULL,
            kept timestamp with time zone NOT NULL DEFAULT now(),
            PRIMARY KEY (app, name)
        )
        """,
        """
        CREATE TABLE postdo_journal.expected (
            key text PRIMARY KEY,
            names bytea NOT NULL,
            catalogue bytea NOT NULL,
            kept timestamp with time zone NOT NULL DEFAULT now()
        )
        """,
        """
        CREATE TABLE postdo_journal.model_use (
            one boolean PRIMARY KEY DEFAULT true CHECK (one),
            uses bytea NOT NULL,
            kept timestamp with time zone NOT NULL DEFAULT now()
        )
        """,
    ),
)
# A further table, made when it is wanted. It is no version of its own: who goes back to a release
# with an older postdo has its journal all the same, and nothing is lost with what is kept here.
REHEARSAL = (
    """
    CREATE TABLE IF NOT EXISTS postdo_journal.rehearsal (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        checksum text NOT NULL,
        contents bytea NOT NULL,
        kept timestamp with time zone NOT NULL DEFAULT now()
    )
    """,
    "REVOKE ALL ON postdo_journal.rehearsal FROM PUBLIC",
)
HAS_REHEARSAL = "SELECT to_regclass('postdo_journal.rehearsal') IS NOT NULL"

# Whether our schema is there, by name alone: this needs no right to look into it.
# PostgreSQL 14 to 18.
EXISTS = "SELECT count(*) > 0 FROM pg_catalog.pg_namespace WHERE nspname = 'postdo_journal'"
# Whether the table with the version is there, and whether the schema is empty.
TABLES = """
SELECT coalesce(bool_or(relname = 'journal'), false), count(*) = 0
FROM pg_catalog.pg_class WHERE relnamespace = 'postdo_journal'::regnamespace AND relkind = 'r'
"""
# The version of the tables; one row.
VERSION = "SELECT version FROM postdo_journal.journal"
CREATE = "CREATE SCHEMA postdo_journal"
SET_VERSION = """
INSERT INTO postdo_journal.journal (version) VALUES (%s)
ON CONFLICT (one) DO UPDATE SET version = excluded.version, since = now()
"""
# Default privileges of a role can give tables away; plans and sources are nobody else's.
PRIVATE = (
    "REVOKE ALL ON SCHEMA postdo_journal FROM PUBLIC",
    "REVOKE ALL ON ALL TABLES IN SCHEMA postdo_journal FROM PUBLIC",
)
# Whether this transaction now has the lock under which the tables are made. PostgreSQL 14 to 18.
TRY_LOCK = "SELECT pg_catalog.pg_try_advisory_xact_lock(%s)"
LOCK = int.from_bytes(
    b"postdo-j", "big"
)  # apart from the keys of advisory_lock.py, which are shorter
LOCK_SECONDS = 10.0  # tables are made in milliseconds: who holds it longer is stuck
PAUSE_SECONDS = 0.05

# How a part of the work begins, and how it ends well and badly.
_TRANSACTION = (("BEGIN",), ("COMMIT",), ("ROLLBACK",))
_SAVEPOINT = (
    ("SAVEPOINT postdo_journal",),
    ("RELEASE SAVEPOINT postdo_journal",),
    ("ROLLBACK TO SAVEPOINT postdo_journal", "RELEASE SAVEPOINT postdo_journal"),
)

IDLE = 0  # libpq's PQTRANS_IDLE, in psycopg2 and psycopg 3


class UnusableError(Exception):
    """The journal cannot be used; the message is a part of a sentence that says why."""


@contextmanager
def part(session: BaseDatabaseWrapper) -> Iterator[None]:
    """Make the block all or nothing: in a transaction, or in a savepoint of the open one.

    After an error the surrounding transaction is usable. It works on the driver's level, because
    Django's ``atomic`` finds sessions by alias, and ours have none.
    """
    session.ensure_connection()
    begin, end, back = _SAVEPOINT if _in_transaction(session) else _TRANSACTION
    _all(session, begin)
    try:
        yield
        _all(session, end)
    except BaseException:
        with suppress(Error):  # the connection may be what failed
            _all(session, back)
        raise


def version(session: BaseDatabaseWrapper) -> int | None:
    """The version of the tables: 0 for an empty schema, ``None`` without the schema.

    Raises ``UnusableError`` if it cannot be told, and Django's errors.
    """
    if not rows(session, EXISTS)[0][0]:
        return None
    ((told, empty),) = rows(session, TABLES)
    if empty:
        return 0
    if not told:
        raise UnusableError("its table postdo_journal.journal is missing")
    found = rows(session, VERSION)
    if len(found) != 1 or not isinstance(found[0][0], int) or found[0][0] < 1:
        raise UnusableError("its version cannot be read from postdo_journal.journal")
    return int(found[0][0])


def upgrade(
    session: BaseDatabaseWrapper, steps: Sequence[tuple[str, ...]] | None = None
) -> tuple[int, int]:
    """Bring the tables to the last of ``steps`` (by default ours), in the open transaction.

    Returns the version before (0: none) and after; a newer one is left as it is. Raises
    ``UnusableError`` if another process upgrades for too long, and Django's errors.
    """
    wanted = UPGRADES if steps is None else steps
    before = version(session)
    if before is not None and before >= len(wanted):
        return before, before
    _lock(session)
    before = version(session)  # somebody else may have done it meanwhile
    if before is None:
        _all(session, (CREATE,))
    start = before or 0
    for number, statements in enumerate(wanted[start:], start + 1):
        _all(session, statements)
        rows(session, SET_VERSION, number)
    _all(session, PRIVATE)
    return start, max(start, len(wanted))


def _lock(session: BaseDatabaseWrapper) -> None:
    end = time.monotonic() + LOCK_SECONDS
    while not rows(session, TRY_LOCK, LOCK)[0][0]:
        if time.monotonic() > end:
            raise UnusableError("another process is still creating its tables")
        time.sleep(PAUSE_SECONDS)


def _in_transaction(session: BaseDatabaseWrapper) -> bool:
    connection = session.connection
    # Without autocommit the driver begins one unasked, before the first statement.
    return not connection.autocommit or int(connection.info.transaction_status) != IDLE


def _all(session: BaseDatabaseWrapper, statements: Sequence[str]) -> None:
    for statement in statements:
        rows(session, statement)
