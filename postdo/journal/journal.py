"""Store and read the journal: what postdo remembers, in the schema ``postdo_journal``.

The tables are ``journal`` (one row: the version of this schema), ``run`` (each release), ``source``
(the files of applied migrations), ``expected`` (the schema that they should have produced),
``model_use`` (what the running version uses) and ``rehearsal`` (``plan.kept``).

The journal is a help and never a condition: if it is missing, unreadable or damaged, each function
prints a warning and returns nothing, and the start continues.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypeVar

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base import sqlstates
from postdo.base.context import Run
from postdo.base.database import message, role, rows, sqlstate
from postdo.django_migrations.history import Name
from postdo.journal import tables
from postdo.journal.model_usage import ModelUse
from postdo.journal.serialization import from_json, pack, to_json, unpack
from postdo.journal.tables import SCHEMA, UnusableError, part
from postdo.schema import catalogue as catalogues
from postdo.schema.catalogue import Catalogue

__all__ = ["SCHEMA", "Journal", "RunRecord", "Source"]

KEEP_RUNS = 1000  # some years of releases; a plan of 300 migrations is 100 kB compressed
# PostgreSQL's appendix "Error Codes", 14 to 18: insufficient_privilege, and the class of tables and
# columns that are not there or of another type.
NOT_AS_MADE = "42"

Value = TypeVar("Value")

# All of PostgreSQL 14 to 18.
ADD_RUN = """
INSERT INTO postdo_journal.run
    (began, seconds, outcome, mode, what, release, who, checksum, applied, plan)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s::text[], %s)
"""
FORGET_RUNS = (
    "DELETE FROM postdo_journal.run WHERE id <= (SELECT max(id) FROM postdo_journal.run) - %s"
)
# The latest runs, newest first, in the order of the fields of RunRecord.
RUNS = """
SELECT began, seconds, outcome, mode, what, release, who, checksum, applied, plan
FROM postdo_journal.run ORDER BY id DESC LIMIT %s
"""
# Which files are archived: app, name, path, checksum.
CHECKSUMS = "SELECT app, name, path, checksum FROM postdo_journal.source"
# The same with their contents.
SOURCES = "SELECT app, name, path, checksum, contents FROM postdo_journal.source ORDER BY app, name"
KEEP_SOURCES = """
INSERT INTO postdo_journal.source (app, name, path, checksum, contents)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bytea[])
ON CONFLICT (app, name) DO UPDATE SET
    path = excluded.path, checksum = excluded.checksum, contents = excluded.contents, kept = now()
"""
FORGET_EXPECTED = "DELETE FROM postdo_journal.expected WHERE key <> %s"
KEEP_EXPECTED = """
INSERT INTO postdo_journal.expected (key, names, catalogue) VALUES (%s, %s, %s)
ON CONFLICT (key) DO UPDATE SET
    names = excluded.names, catalogue = excluded.catalogue, kept = now()
"""
# The schema that was kept under a key: at most one row.
EXPECTED = "SELECT catalogue FROM postdo_journal.expected WHERE key = %s"
KEEP_MODEL_USE = """
INSERT INTO postdo_journal.model_use (uses) VALUES (%s)
ON CONFLICT (one) DO UPDATE SET uses = excluded.uses, kept = now()
"""
# What was kept last: at most one row.
MODEL_USE = "SELECT uses FROM postdo_journal.model_use"
KEEP_REHEARSAL = """
INSERT INTO postdo_journal.rehearsal (checksum, contents) VALUES (%s, %s)
ON CONFLICT (one) DO UPDATE SET
    checksum = excluded.checksum, contents = excluded.contents, kept = now()
"""
# What was kept for a plan, and how many seconds ago: at most one row, which may be gone then.
LOOK_AT_REHEARSAL = """
SELECT contents, extract(epoch FROM now() - kept)::double precision
FROM postdo_journal.rehearsal WHERE checksum = %s
"""
TAKE_REHEARSAL = """
DELETE FROM postdo_journal.rehearsal WHERE checksum = %s
RETURNING contents, extract(epoch FROM now() - kept)::double precision
"""
FORGET_REHEARSAL = "DELETE FROM postdo_journal.rehearsal"


@dataclass(frozen=True)
class Source:
    """The file of an applied migration. ``text``: its contents; ``checksum``: SHA-256 of its bytes.

    Bytes that are not UTF-8 are kept in ``text`` by surrogateescape, so that none is lost.
    """

    name: Name
    path: str
    checksum: str
    text: str

    @property
    def contents(self) -> bytes:
        """The exact bytes of the file."""
        return self.text.encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class RunRecord:
    """One run of ``migrate``. ``outcome``: done, refused, undone, not-undone, or stopped.

    ``applied``: migrations as ``app.name``. ``plan``: the plan's JSON. ``who``: user and host.
    """

    began: datetime
    seconds: float
    outcome: str
    mode: str
    what: str
    release: str
    who: str
    checksum: str
    applied: tuple[str, ...]
    plan: str


class Journal:
    """The journal of one database, through one session, which may be in a transaction.

    In a transaction, what is written is committed or rolled back with it. An error in the journal
    leaves that transaction usable: the journal is never a reason to fail.
    """

    def __init__(self, run: Run, session: BaseDatabaseWrapper) -> None:
        self._run = run
        self._session = session
        self._ready = False
        self._absent = False
        self._refused = False  # another version: not to be asked again
        self._trouble = ""

    @property
    def absent(self) -> bool:
        """Whether this database has no journal."""
        self._ask()
        return self._absent

    @property
    def trouble(self) -> str:
        """Why the journal, or a part of it, cannot be used; empty if no problem came up so far."""
        self._ask()
        return self._trouble

    @property
    def usable(self) -> bool:
        """Whether the journal exists in this version, and what was read of it is intact."""
        return not (self.absent or self.trouble)

    def prepare(self) -> bool:
        """Create the schema, or upgrade it to this version. Returns whether it can be used."""
        return self._safely(self._upgrade, False)

    def record(self, record: RunRecord) -> None:
        """Write a run into the journal."""

        def write() -> None:
            rows(
                self._session,
                ADD_RUN,
                record.began,
                record.seconds,
                record.outcome,
                record.mode,
                record.what,
                record.release,
                record.who,
                record.checksum,
                list(record.applied),
                pack(record.plan),
            )
            rows(self._session, FORGET_RUNS, KEEP_RUNS)

        self._use(write, None)

    def runs(self, limit: int = 20) -> tuple[RunRecord, ...]:
        """The latest runs, newest first, at most ``limit``."""
        return self._use(lambda: tuple(map(_run, rows(self._session, RUNS, limit))), ())

    def keep_sources(self, sources: tuple[Source, ...]) -> None:
        """Archive files; an earlier one of the same migration is replaced."""

        def write() -> None:
            kept = {
                (app, name, path, checksum)
                for app, name, path, checksum in rows(self._session, CHECKSUMS)
            }
            # By name: one statement cannot write a row twice.
            new = {
                one.name: (*one.name, one.path, one.checksum, pack(one.text))
                for one in sources
                if (*one.name, one.path, one.checksum) not in kept
            }
            if new:
                rows(self._session, KEEP_SOURCES, *map(list, zip(*new.values(), strict=True)))

        if sources:
            self._use(write, None)

    def sources(self) -> dict[Name, Source]:
        """All archived files, without damaged ones."""

        def read() -> dict[Name, Source]:
            found = (self._source(row) for row in rows(self._session, SOURCES))
            return {one.name: one for one in found if one is not None}

        return self._use(read, {})

    def keep_expected(self, key: str, catalogue: Catalogue, names: frozenset[Name]) -> None:
        """Remember the schema that these migrations produce, under ``key``; forget others."""

        def write() -> None:
            rows(self._session, FORGET_EXPECTED, key)
            listed = json.dumps(sorted(names))
            rows(self._session, KEEP_EXPECTED, key, pack(listed), pack(catalogue.to_json()))

        self._use(write, None)

    def expected(self, key: str) -> Catalogue | None:
        """The schema kept under a key; ``None`` without one, or if it cannot be read."""

        def read() -> Catalogue | None:
            found = rows(self._session, EXPECTED, key)
            return catalogues.from_json(unpack(found[0][0])) if found else None

        return self._use(read, None)

    def keep_model_use(self, use: ModelUse) -> None:
        """Remember which tables and columns the release that was just migrated for uses."""
        self._use(lambda: _nothing(rows(self._session, KEEP_MODEL_USE, pack(to_json(use)))), None)

    def model_use(self) -> ModelUse | None:
        """What ``keep_model_use`` kept last."""

        def read() -> ModelUse | None:
            found = rows(self._session, MODEL_USE)
            return from_json(ModelUse, unpack(found[0][0])) if found else None

        return self._use(read, None)

    def keep_rehearsal(self, checksum: str, text: str) -> None:
        """Remember the rehearsal of the plan that was asked about last, and no other."""

        def write() -> None:
            for statement in tables.REHEARSAL:
                rows(self._session, statement)
            rows(self._session, KEEP_REHEARSAL, checksum, pack(text))

        self._use(write, None)

    def rehearsal(self, checksum: str, *, take: bool) -> tuple[str, float] | None:
        """The rehearsal kept for this plan, as text, and its age in seconds.

        ``take``: forget it, because it may be used once. The text is empty if it is damaged.
        """
        sql = TAKE_REHEARSAL if take else LOOK_AT_REHEARSAL

        def read() -> tuple[str, float] | None:
            if not self._has_rehearsal():
                return None
            for contents, age in rows(self._session, sql, checksum):
                with suppress(ValueError):
                    return unpack(contents), float(age)
                return "", float(age)
            return None

        return self._use(read, None)

    def forget_rehearsal(self) -> None:
        """Forget the kept rehearsal: after a change it no longer describes this database."""

        def forget() -> None:
            if self._has_rehearsal():
                rows(self._session, FORGET_REHEARSAL)

        self._use(forget, None)

    def _has_rehearsal(self) -> bool:
        return bool(rows(self._session, tables.HAS_REHEARSAL)[0][0])

    def _ask(self) -> None:
        if not (self._ready or self._trouble):
            self._use(lambda: None, None)

    def _use(self, do: Callable[[], Value], empty: Value) -> Value:
        """What ``do`` says of a journal that is there and of this version, else ``empty``."""

        def checked() -> Value:
            if not self._ready:
                self._ready = self._look()
            return do() if self._ready else empty

        return empty if self._absent or self._refused else self._safely(checked, empty)

    def _safely(self, do: Callable[[], Value], empty: Value) -> Value:
        try:
            with part(self._session):
                return do()
        except UnusableError as error:
            self._warn(f"the journal (schema postdo_journal) is not used: {error}")
        except Error as error:
            said = _said(self._session, error)
            self._warn(f"the journal (schema postdo_journal) cannot be used: {said}")
        # What lies in the tables can be anything; StopSignals come as a KeyboardInterrupt.
        except Exception as error:  # noqa: BLE001
            self._warn(f"the journal (schema postdo_journal) is damaged: {message(error)}")
        return empty

    def _upgrade(self) -> bool:
        before, after = tables.upgrade(self._session)
        if before > len(tables.UPGRADES):
            raise UnusableError(_newer(before))
        if 0 < before < after:
            self._run.console.say(f"the journal was upgraded from version {before} to {after}")
        self._ready, self._absent, self._refused = True, False, False
        return True

    def _look(self) -> bool:
        found, ours = tables.version(self._session), len(tables.UPGRADES)
        if found == ours:
            return True
        self._absent, self._refused = not found, bool(found)
        if not found:
            self._run.console.say("this database has no journal yet")
            return False
        if found > ours:
            raise UnusableError(_newer(found))
        raise UnusableError(f"it has version {found}; the next `migrate` upgrades it to {ours}")

    def _source(self, row: tuple[Any, ...]) -> Source | None:
        app, name, path, checksum, contents = row
        try:
            source = Source((app, name), path, checksum, unpack(contents))
        except ValueError as error:
            self._warn(f"the archived file of {app}.{name} is damaged: {error}")
            return None
        if hashlib.sha256(source.contents).hexdigest() != checksum:
            self._warn(f"the archived file of {app}.{name} is damaged: its checksum is wrong")
            return None
        return source

    def _warn(self, text: str) -> None:
        """Once: whoever reads one line about the journal knows enough."""
        if not self._trouble:
            self._trouble = text
            self._run.console.warn(text)


def _run(row: tuple[Any, ...]) -> RunRecord:
    *plain, applied, plan = row
    names = [field.name for field in fields(RunRecord)]
    values = dict(zip(names, (*plain, tuple(applied), unpack(plan)), strict=True))
    record = RunRecord(**values)
    texts = (record.outcome, record.mode, record.what, record.release, record.who, record.checksum)
    if not (
        isinstance(record.began, datetime)
        and isinstance(record.seconds, float)
        and isinstance(applied, list)
        and all(isinstance(text, str) for text in (*texts, *applied))
    ):
        raise ValueError("a column of postdo_journal.run has another type")
    return record


def _newer(version: int) -> str:
    return (
        f"a newer postdo created it (version {version}; this postdo knows {len(tables.UPGRADES)})"
    )


def _said(session: BaseDatabaseWrapper, error: Error) -> str:
    said = message(error)
    if sqlstate(error) == sqlstates.INSUFFICIENT_PRIVILEGE:
        create = f"CREATE SCHEMA postdo_journal AUTHORIZATION {role(session)}"
        return f"{said}; create it for this role: {create}"
    if (sqlstate(error) or "").startswith(NOT_AS_MADE):
        return (
            f"{said}; to start a new journal at the next `migrate`: DROP SCHEMA postdo_journal "
            "CASCADE"
        )
    return said


def _nothing(_: object) -> None:
    """The result of a statement that is run for its effect."""
