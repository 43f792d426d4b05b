"""Read the schema of a PostgreSQL database into a value that can be stored and compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base import sqlstates
from postdo.base.database import rows, sqlstate
from postdo.schema.queries import MAJOR, QUESTIONS, SETTINGS

Identity = tuple[str, str, str, tuple[tuple[str, str], ...]]

FORMAT = 1  # of what is kept in the journal; another number is not read

# Facts that say how something came about or where it stands, not what it is.
INFORMATION: Mapping[str, frozenset[str]] = {
    "extension": frozenset({"version", "schema"}),
    "column": frozenset({"written", "sequence", "position", "from"}),
    "view": frozenset({"reads"}),
}
# Kinds that are what they are under any name; so is a sequence that belongs to a column.
BY_DEFINITION = frozenset({"constraint", "index"})

IDLE = 0  # libpq's PQTRANS_IDLE, the same number in psycopg2 and psycopg 3
# An object that another session drops while it is being read: undefined table, column, object, and
# "cache lookup failed". The next snapshot does not show it any more.
VANISHED = frozenset(
    {
        sqlstates.UNDEFINED_TABLE,
        sqlstates.UNDEFINED_COLUMN,
        sqlstates.UNDEFINED_OBJECT,
        sqlstates.INTERNAL_ERROR,
    }
)
ATTEMPTS = 3

# Opens our own transaction, in one snapshot. PostgreSQL 14 to 18.
BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
# The settings as they are, and to set them for this transaction. PostgreSQL 14 to 18.
CURRENT = "SELECT n, current_setting(n) FROM unnest(%s::text[]) n"
SET = "SELECT set_config(n, v, true) FROM unnest(%s::text[], %s::text[]) AS s(n, v)"


@dataclass(frozen=True)
class Entry:
    """One object of a schema. Two entries describe the same object if ``identity`` is equal.

    - ``kind``: schema, extension, type, collation, table, column, constraint, index, sequence,
      view, trigger, policy or function.
    - ``table``: the table or view that it is, or belongs to, with its schema
      (``public.shop_item``); otherwise an empty string.
    - ``name``: its name in this database. For a type, collation, sequence and function it includes
      the schema, for a function also the argument types.
    - ``facts``: what makes it what it is, in PostgreSQL's words, under the names in
      ``queries.QUESTIONS``; a fact that does not apply is an empty string.
    """

    kind: str
    table: str
    name: str
    facts: Mapping[str, str]

    @property
    def essence(self) -> dict[str, str]:
        """The facts that count in a comparison, without those that are only information."""
        spare = INFORMATION.get(self.kind, frozenset())
        return {fact: value for fact, value in self.facts.items() if fact not in spare}

    @property
    def named(self) -> bool:
        """Whether the name counts in a comparison.

        A generated one, as of a constraint, does not.
        """
        owned = self.kind == "sequence" and self.facts.get("column", "") != ""
        return self.kind not in BY_DEFINITION and not owned

    @cached_property
    def identity(self) -> Identity:
        """A key that is equal for the same object in two databases.

        It consists of the kind, the table, the name where it counts, and the essence.
        """
        name = self.name if self.named else ""
        return (self.kind, self.table, name, tuple(sorted(self.essence.items())))


@dataclass(frozen=True)
class Catalogue:
    """All objects of a database, except those of PostgreSQL, of extensions and of the journal.

    ``major``: version of the server that it was read from, such as 17.
    """

    major: int
    entries: tuple[Entry, ...]

    @cached_property
    def checksum(self) -> str:
        """SHA-256 over the identities: equal for schemas that differ in generated names only."""
        lines = sorted(json.dumps(entry.identity) for entry in self.entries)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @cached_property
    def tables(self) -> frozenset[str]:
        """The tables' names with their schema, without views."""
        return frozenset(entry.table for entry in self.of("table"))

    def of(self, kind: str) -> tuple[Entry, ...]:
        """All entries of one kind."""
        return self._kinds.get(kind, ())

    @cached_property
    def _kinds(self) -> Mapping[str, tuple[Entry, ...]]:
        kinds: dict[str, list[Entry]] = {}
        for entry in self.entries:
            kinds.setdefault(entry.kind, []).append(entry)
        return {kind: tuple(entries) for kind, entries in kinds.items()}

    def to_json(self) -> str:
        """The catalogue as JSON, for the journal and for other processes. See ``from_json``."""
        entries = [
            [entry.kind, entry.table, entry.name, dict(entry.facts)] for entry in self.entries
        ]
        return json.dumps({"format": FORMAT, "major": self.major, "entries": entries})


def from_json(text: str) -> Catalogue:
    """Read what ``to_json`` wrote. Raises ``ValueError`` if it is damaged or of another format."""
    loaded: Any = json.loads(text)
    if not isinstance(loaded, dict) or loaded.get("format") != FORMAT:
        raise ValueError(f"this is no catalogue of format {FORMAT}")
    try:
        major, entries = loaded["major"], tuple(_entry(*values) for values in loaded["entries"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"this catalogue is damaged: {error}") from error
    if not isinstance(major, int):
        raise ValueError("this catalogue is damaged: no major version")
    return Catalogue(major=major, entries=entries)


def _entry(kind: str, table: str, name: str, facts: Mapping[str, str]) -> Entry:
    texts = (kind, table, name, *facts, *facts.values()) if isinstance(facts, dict) else (facts,)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("an entry holds something that is no text")
    return Entry(kind, table, name, facts)


def read(session: BaseDatabaseWrapper) -> Catalogue:
    """The schema of the connected database, in one snapshot; changes nothing.

    Inside a transaction it sees what that transaction has done; else it opens a read-only
    REPEATABLE READ one of its own. Errors are Django's (``DatabaseError``, ``InterfaceError``).
    """
    session.ensure_connection()
    if in_transaction(session):
        return _read(session)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _snapshot(session):
                return _read(session)
        except DatabaseError as error:
            if attempt == ATTEMPTS or sqlstate(error) not in VANISHED:
                raise
    raise AssertionError("the last attempt returns or raises")


def in_transaction(session: BaseDatabaseWrapper) -> bool:
    """Whether a statement of this session would run in a transaction that somebody has begun."""
    connection: Any = session.connection
    return not connection.autocommit or connection.info.transaction_status != IDLE


@contextmanager
def _snapshot(session: BaseDatabaseWrapper) -> Iterator[None]:
    rows(session, BEGIN)
    try:
        yield
    finally:
        # Nothing was written; a lost connection has ended it already.
        with suppress(DatabaseError, InterfaceError):
            rows(session, "ROLLBACK")


def _read(session: BaseDatabaseWrapper) -> Catalogue:
    with our_settings(session):
        ((major,),) = rows(session, MAJOR)
        entries = [
            Entry(question.kind, table or "", name, dict(zip(question.facts, values, strict=True)))
            for question in QUESTIONS
            for table, name, *raw in rows(session, question.sql)
            for values in [[text or "" for text in raw]]
        ]
    entries.sort(key=lambda entry: (entry.kind, entry.table, entry.name))
    return Catalogue(major=major, entries=tuple(entries))


@contextmanager
def our_settings(session: BaseDatabaseWrapper) -> Iterator[None]:
    """Fix the session's settings on which the texts of definitions depend, inside the block."""
    before = dict(rows(session, CURRENT, list(SETTINGS)))
    rows(session, SET, list(SETTINGS), list(SETTINGS.values()))
    try:
        yield
    finally:
        # After an error, the end of the transaction brings them back.
        with suppress(DatabaseError, InterfaceError):
            rows(session, SET, list(before), list(before.values()))
