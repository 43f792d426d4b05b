"""Guarantee that the release's one transaction ends only once, and find out how it ended.

Two things can go wrong at the end of a transaction:

- A migration ends it itself, by sending COMMIT or ROLLBACK. ``nobody_else_ends_it`` parses each
  statement that goes through Django and raises ``TransactionControlError`` before such a statement
  is sent. Savepoints are allowed.
- The connection breaks after COMMIT was sent and before the answer arrived. Then the client cannot
  know whether PostgreSQL committed. ``commit_status`` asks the server over a new connection, with
  pg_xact_status and the 64-bit transaction id that ``identity`` read before COMMIT. If the
  transaction is still in progress after ``GRACE_SECONDS``, its session is terminated. If the server
  answers "committed", the caller's ``recorded`` must confirm it by what the transaction wrote:
  after a crash a server can assign the same id again. If there is no answer within DB_WAIT_SECONDS,
  the result is ``UNKNOWN``, and a person gets the statement to run.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base import sqlstates
from postdo.base.console import Stopwatch
from postdo.base.context import Run
from postdo.base.database import closing, connect, rows, sqlstate
from postdo.base.retry import Backoff

CONNECT_SECONDS = 5.0  # where packets are dropped, libpq itself would wait for two minutes
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
# How long a transaction that is still there may be on its way to its end before it is ended: its
# client is gone, and without an answer the server may hold its locks until TCP gives up.
GRACE_SECONDS = 2.0

# The transaction that this session is in: pid, when the session began, full transaction id. It
# gets an id by being asked. PostgreSQL 14 to 18.
IDENTITY = """
SELECT a.pid, a.backend_start::text, pg_current_xact_id()::text
FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()
"""
# 'committed', 'aborted', 'in progress', or NULL if it is too old to say. PostgreSQL 14 to 18.
STATUS = "SELECT pg_xact_status(%s::xid8)"
# Ends a session that is still there. PostgreSQL 14 to 18.
TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start::text = %s
"""


class TransactionControlError(Exception):
    """A migration tried to end the transaction that it runs in."""


@dataclass(frozen=True)
class Identity:
    """Names one transaction: ``pid`` and ``began`` of its session, and its full 64-bit ``xid``."""

    pid: int
    began: str
    xid: str

    @property
    def question(self) -> str:
        """The SQL by which a person can ask what became of the transaction."""
        return f"SELECT pg_xact_status('{self.xid}')"


class CommitStatus(enum.Enum):
    """What became of a transaction whose COMMIT got no answer."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"


def identity(worker: BaseDatabaseWrapper) -> Identity:
    """The identity of the transaction that is open in this session."""
    ((pid, began, xid),) = rows(worker, IDENTITY)
    return Identity(pid, began, xid)


def commit_status(
    run: Run, which: Identity, recorded: Callable[[BaseDatabaseWrapper], bool]
) -> CommitStatus:
    """Ask the server, over new connections, whether a transaction was committed.

    It asks for ``wait_seconds`` at most, and ends the transaction if its client is gone. Without an
    answer in that time the result is ``UNKNOWN``.

    ``recorded``: tells whether the database shows what the transaction wrote. It is asked as well,
    because a server that crashed can give the same transaction id to somebody else.
    """
    watch = Stopwatch()
    backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
    while True:
        left = run.config.wait_seconds - watch.seconds
        try:
            with closing(
                connect(f"postdo {run.config.host}", min(CONNECT_SECONDS, left))
            ) as session:
                became = status(session, which)
                if became == "committed":
                    return CommitStatus.COMMITTED if recorded(session) else CommitStatus.ABORTED
                if became == "aborted":
                    return CommitStatus.ABORTED
                if became is None:
                    return CommitStatus.UNKNOWN
                if watch.seconds >= GRACE_SECONDS:
                    rows(session, TERMINATE, which.pid, which.began)
        except (DatabaseError, InterfaceError):
            pass  # not up yet
        if watch.seconds >= run.config.wait_seconds or run.stop.pending:
            return CommitStatus.UNKNOWN
        backoff.sleep()


def status(session: BaseDatabaseWrapper, which: Identity) -> str | None:
    """``committed``, ``aborted`` or ``in progress``; ``None`` if the server no longer knows."""
    try:
        ((said,),) = rows(session, STATUS, which.xid)
    except DatabaseError as error:
        # The id is "in the future": the server crashed before it wrote anything of it.
        if sqlstate(error) == sqlstates.INVALID_PARAMETER_VALUE:
            return "aborted"
        raise
    return None if said is None else str(said)


@contextmanager
def nobody_else_ends_it(worker: BaseDatabaseWrapper) -> Iterator[None]:
    """Make SQL that begins or ends a transaction raise ``TransactionControlError`` in the block.

    Django's own savepoints still work. What a migration sends by the driver itself is not seen
    here.
    """
    with worker.execute_wrapper(_refuse):
        yield


def _refuse(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
    found = transaction_control(text_of(sql, context))
    if found:
        raise TransactionControlError(
            f"it runs {found}, which would end the transaction that all migrations share"
        )
    return execute(sql, params, many, context)


def text_of(sql: Any, context: Any) -> str:
    """A statement as text, also if it is composed of the driver's own objects (``psycopg.sql``)."""
    if isinstance(sql, bytes):
        return sql.decode(errors="replace")
    if hasattr(sql, "as_string"):
        return str(sql.as_string(context["cursor"].cursor))
    return str(sql)


# Words that such a statement has; nearly all SQL has none, and is not looked at further.
_SUSPICIOUS = re.compile(r"\b(?:commit|rollback|abort|end|begin|start|prepare|set)\b", re.I)
# What the beginning of a statement is found by. Text in quotes is passed over as a whole.
_TOKEN = re.compile(
    r"""--[^\n]*
    | (?P<comment>/\*)
    | \b[eE]'(?:[^'\\]|\\.|'')*'
    | '[^']*'
    | "[^"]*"
    | (?<![\w$])(?P<dollar>\$(?:[^\W\d]\w*)?\$)
    | (?P<end>;)
    | (?P<word>[^\W\d][\w$]*)""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_HEAD_WORDS = 3


def transaction_control(sql: str) -> str:
    """The first words of the statement in ``sql`` that begins or ends a transaction, or ""."""
    if not _SUSPICIOUS.search(sql):
        return ""
    return next((" ".join(head) for head in _heads(sql) if _is_control(head)), "")


def _is_control(head: list[str]) -> bool:
    first, rest = head[0], head[1:]
    if first in ("COMMIT", "ABORT", "END", "BEGIN"):
        return True
    if first == "ROLLBACK":
        return "TO" not in rest
    if first in ("START", "PREPARE"):
        return rest[:1] == ["TRANSACTION"]
    return first == "SET" and "AUTOCOMMIT" in rest


def _heads(sql: str) -> Iterator[list[str]]:
    """The first words of each statement, in capitals. The body of a function is none of its own."""
    head: list[str] = []
    before, body, position = "", 0, 0
    while match := _TOKEN.search(sql, position):
        position = match.end()
        if match["comment"]:
            position = _after_comment(sql, position)
        elif match["dollar"]:
            closing_tag = sql.find(match["dollar"], position)
            position = len(sql) if closing_tag < 0 else closing_tag + len(match["dollar"])
        elif match["end"] and not body:
            if head:
                yield head
            head = []
        elif match["word"]:
            word = match["word"].upper()
            body = _body(head, before, word, body)
            if len(head) < _HEAD_WORDS:
                head.append(word)
            before = word
    if head:
        yield head


def _body(head: list[str], before: str, word: str, depth: int) -> int:
    """How deep in BEGIN ATOMIC … END, which only a CREATE FUNCTION or PROCEDURE has."""
    if (before, word) == ("BEGIN", "ATOMIC") and head[:1] == ["CREATE"]:
        return depth + 1
    if depth and word == "CASE":
        return depth + 1
    return depth - 1 if depth and word == "END" else depth


def _after_comment(sql: str, position: int) -> int:
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(sql, position)):
        depth += 1 if edge.group() == "/*" else -1
        position = edge.end()
    return len(sql) if depth else position
