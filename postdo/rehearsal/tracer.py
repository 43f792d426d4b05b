"""Observe migrations from inside their own session, and turn what is seen into a ``Trace``.

PostgreSQL shows most of what a transaction does only to that session, or only while it is open. So
the tracer wraps each statement that Django sends, measures it, and after a statement that can
change the answer it asks PostgreSQL on the same session: which locks are held now (pg_locks), which
tables have a new file on disk (a rewrite), how many rows were inserted, updated and deleted (the
transaction's own statistics). A lock counts from the statement that took it until the transaction
ends.

The tracer must not change what it observes. It uses the driver's cursor directly, so that no
wrapper of Django sees its queries; it asks only after statements that succeeded, and as rarely as
the answer can change; and a clock that stops during its own queries keeps their time out of the
result.
"""

from __future__ import annotations

import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.database import rows
from postdo.base.formatting import MB
from postdo.django_migrations.history import Name, dotted
from postdo.rehearsal.data_loss import Column, Place, columns, count_values
from postdo.rehearsal.row_counts import RowEffects
from postdo.rehearsal.trace import Effect, Lock, Loss, Statement, Step, Trace
from postdo.rehearsal.tracer_queries import (
    FILES,
    LOCK_COUNT,
    LOCKS,
    MAY_SEE_WAL,
    STRENGTH,
    STRONGEST,
    TABLES,
    WAL,
)
from postdo.schema.catalogue import Catalogue

__all__ = ["Failing", "RowEffects", "Tracer"]

LAST_STEP = "post_migrate"
MOST_STATEMENTS = 200  # different ones per step; a person reads fewer
LONGEST_STATEMENT = 2000  # characters; a person reads fewer
LONGEST_SEARCHED = 100_000  # characters of a statement in which names of tables are looked for

# Django's and our own bookkeeping, which says nothing about the migration.
BOOKKEEPING = re.compile(
    r"(SAVEPOINT|RELEASE SAVEPOINT|ROLLBACK TO SAVEPOINT|SET CONSTRAINTS ALL)\b"
    r'|(INSERT INTO|SELECT|DELETE FROM)\b.*"django_migrations"',
    re.DOTALL,
)
WORD = re.compile(r"\w+")
DELETE = re.compile(r'DELETE\s+FROM\s+(?:ONLY\s+)?(?:"?(\w+)"?\.)?"?(\w+)"?', re.IGNORECASE)
SAVEPOINT = re.compile(r'(SAVEPOINT|RELEASE SAVEPOINT|ROLLBACK TO SAVEPOINT)\s+"?(\w+)"?')
DROP_COLUMN = re.compile(r"\bDROP\s+COLUMN\b", re.IGNORECASE)


@dataclass(frozen=True)
class Failing:
    """A statement that failed.

    ``interpolated``: whether it has placeholders, and so ``%%`` for %.
    """

    error: BaseException
    sql: str
    interpolated: bool


@dataclass(frozen=True)
class _Taken:
    """``at``: by the clock that stands still while we ask our own questions."""

    strength: int
    at: float


@dataclass
class _Open:
    """A step that is under way."""

    name: str
    began: float
    own: float  # seconds that our own questions had taken before it
    statements: dict[str, Statement] = field(default_factory=dict)
    locks: dict[int, _Taken] = field(default_factory=dict)


@dataclass(frozen=True)
class _Closed:
    open: _Open
    seconds: float
    ended: float  # by the same clock
    rewrites: tuple[str, ...]
    effects: tuple[Effect, ...]


class Tracer:
    """Observes one run (``run_pending.Observer``) in ``worker``, the session that runs it.

    - ``single``: whether everything runs in one transaction. Otherwise less is seen: a statement
      outside of a transaction releases its locks before anyone can look.
    - ``closely``: whether to look at locks, files and rows.
    - ``tell``: called with ``begin`` or ``end`` and the name of each migration.
    """

    def __init__(
        self,
        worker: BaseDatabaseWrapper,
        *,
        single: bool,
        closely: bool = True,
        tell: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        self._worker = worker
        self._single = single
        self._closely = closely
        self._tell = tell
        self._steps: list[_Closed] = []
        self._open = _Open(LAST_STEP, time.monotonic(), 0.0)
        self._names: dict[int, str] = {}
        self._files: dict[int, int | None] = {}
        self._words: dict[str, set[int]] = {}
        self._seen: set[str] = set()
        self._held: dict[int, _Taken] = {}
        self._total = RowEffects(worker, committed=not single)
        self._step = RowEffects(worker, committed=not single)
        self.effects: tuple[Effect, ...] = ()
        self._wal: int | None = None
        self._wal_bytes = 0
        self._lock_count = 0
        self._released = 0.0
        self.dropped: dict[Place, int] = {}
        self.brought_back: Counter[str] = Counter()
        self._savepoints: dict[str, Counter[str]] = {}
        self.own_seconds = 0.0
        self._baseline_seconds = 0.0
        self.running = ""
        self.atomic = True
        self.module = ""
        self.failing: Failing | None = None
        self.began = self.ended_at = time.monotonic()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """See the statements of the session inside the block.

        To be entered inside the transaction, if there is one.
        """
        if self._closely:
            self._baseline()
        self.began = time.monotonic()
        self._baseline_seconds = self.own_seconds
        self._open = _Open(LAST_STEP, self.began, self.own_seconds)
        with self._worker.execute_wrapper(self._statement):
            yield

    def begins(self, name: Name, migration: Any) -> None:
        """Start the step of a migration."""
        self.running = dotted((name,))
        self.atomic = bool(getattr(migration, "atomic", True))
        self.module = type(migration).__module__
        self._tell("begin", self.running)
        if not self._single:
            self._forget()
        self._open = _Open(self.running, time.monotonic(), self.own_seconds)

    def ended(self, name: Name) -> None:
        """End the step of a migration, and read what it did."""
        self._close()
        self._tell("end", self.running)
        self.running = ""
        self.atomic = True
        self.module = ""
        self._open = _Open(LAST_STEP, time.monotonic(), self.own_seconds)

    def finish(self) -> None:
        """End the last step, after the last handler, and before COMMIT if there is one."""
        self._close()
        self.ended_at = time.monotonic()
        self._released = self.ended_at - self.own_seconds
        if self._closely:
            self.effects = self._total.read()
            ((self._lock_count,),) = rows(self._worker, LOCK_COUNT)
            if self._wal is not None:
                ((now,),) = rows(self._worker, WAL)
                self._wal_bytes = now - self._wal

    def steps(self) -> tuple[Step, ...]:
        """The steps that have ended."""
        return tuple(self._as_step(closed) for closed in self._steps)

    def trace(
        self,
        before: Catalogue,
        after: Catalogue,
        losses: tuple[Loss, ...],
        altered: tuple[str, ...],
    ) -> Trace:
        """Everything that was seen; to be called after ``finish``."""
        return Trace(
            steps=self.steps(),
            locks=self._strongest(),
            effects=self.effects,
            losses=losses,
            altered=altered,
            seconds=self.ended_at - self.began,
            peak_memory_mb=peak_memory_mb(),
            lock_count=self._lock_count,
            wal_bytes=self._wal_bytes,
            before=before,
            after=after,
            watching_seconds=self.own_seconds - self._baseline_seconds,
        )

    def _baseline(self) -> None:
        with self._asking():
            for table, name, word, file in rows(self._worker, TABLES):
                self._names[table] = name
                self._files[table] = file
                for part in WORD.findall(word):
                    self._words.setdefault(part, set()).add(table)
            self._total.baseline()
            self._step.baseline()
            ((may,),) = rows(self._worker, MAY_SEE_WAL)
            if may:
                ((self._wal,),) = rows(self._worker, WAL)

    def _statement(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        if self._closely and DROP_COLUMN.search(_text(sql, context)):
            self._count_columns(_text(sql, context))
        began = time.monotonic()
        try:
            result = execute(sql, params, many, context)
        except BaseException as error:
            self.failing = Failing(error, _text(sql, context), params is not None)
            raise
        text = _text(sql, context)
        self._follow_savepoints(text, context)
        if not BOOKKEEPING.match(text):
            self._keep(text, time.monotonic() - began)
            if self._worth_a_look(text):
                self._look(began - self.own_seconds)
        return result

    def _follow_savepoints(self, text: str, context: Any) -> None:
        """Which deleted rows a savepoint brings back: PostgreSQL counts them all the same."""
        told = SAVEPOINT.match(text)
        if told:
            word, name = told.groups()
            if word == "SAVEPOINT":
                self._savepoints[name] = Counter()
                return
            names = list(self._savepoints)
            later = names[names.index(name) :] if name in names else []
            found = sum((self._savepoints.pop(one) for one in later), Counter[str]())
            if word == "ROLLBACK TO SAVEPOINT":
                self.brought_back += found
                if later:
                    self._savepoints[name] = Counter()
            elif self._savepoints:
                self._savepoints[next(reversed(self._savepoints))].update(found)
            return
        deleted = DELETE.match(text.lstrip())
        if deleted and self._savepoints:
            count = getattr(context.get("cursor"), "rowcount", 0)
            table = f"{deleted[1]}.{deleted[2]}" if deleted[1] else deleted[2]
            self._savepoints[next(reversed(self._savepoints))][table] += max(0, count)

    def _count_columns(self, text: str) -> None:
        """Of each column that a statement may drop, how many values it has by now.

        A migration may have moved them elsewhere, and set them NULL.
        """
        words = {word.lower() for word in WORD.findall(text[:LONGEST_SEARCHED])}

        def named(name: str) -> bool:
            return words.issuperset(word.lower() for word in WORD.findall(name))

        if self._worker.needs_rollback:
            return
        with self._asking():
            for place, column in columns(self._worker).items():
                if named(column.name) and named(column.table.partition(".")[2]):
                    count = self._count(column)
                    if count is not None:
                        self.dropped[place] = count

    def _count(self, column: Column) -> int | None:
        """How many values a column has, ``None`` if it cannot be asked; nothing is broken then."""
        inside = self._worker.in_atomic_block
        try:
            if inside:
                rows(self._worker, "SAVEPOINT postdo_count")
            count = count_values(self._worker, column)
        except Error:
            if inside:
                rows(self._worker, "ROLLBACK TO SAVEPOINT postdo_count")
            return None
        if inside:
            rows(self._worker, "RELEASE SAVEPOINT postdo_count")
        return count

    def _keep(self, text: str, seconds: float) -> None:
        statements = self._open.statements
        short = text if len(text) <= LONGEST_STATEMENT else text[:LONGEST_STATEMENT] + " ..."
        if short not in statements and len(statements) >= MOST_STATEMENTS:
            short = "(further statements)"
        before = statements.get(short, Statement(short, 0.0, 0))
        statements[short] = Statement(short, before.seconds + seconds, before.times + 1)

    def _worth_a_look(self, text: str) -> bool:
        """Whether a statement can have taken a lock on a table that was there before.

        A statement names it, or (a foreign key that is made anew, a function) is caught at the end
        of its migration. The same words a second time take the same locks.
        """
        if not (self._closely and self._worker.in_atomic_block) or self._worker.needs_rollback:
            return False
        if text in self._seen:
            return False
        self._seen.add(text)
        words = self._words.keys() & set(WORD.findall(text[:LONGEST_SEARCHED]))
        return any(
            table not in self._held or self._held[table].strength < STRONGEST
            for word in words
            for table in self._words[word]
        )

    def _look(self, at: float) -> None:
        with self._asking():
            for table, mode in rows(self._worker, LOCKS):
                strength = STRENGTH.index(mode) if mode in STRENGTH else -1
                held = self._held.get(table)
                if table in self._names and (held is None or strength > held.strength):
                    taken = _Taken(strength, at)
                    self._held[table] = taken
                    self._open.locks[table] = taken

    def _close(self) -> None:
        ended = time.monotonic()
        released = ended - self.own_seconds
        seconds = ended - self._open.began - (self.own_seconds - self._open.own)
        rewrites: tuple[str, ...] = ()
        effects: tuple[Effect, ...] = ()
        if self._closely:
            if self._single and self._names:
                self._look(ended - self.own_seconds)
            with self._asking():
                rewrites = self._rewritten()
                effects = self._step.read()
                self._step.baseline()
        self._steps.append(_Closed(self._open, seconds, released, rewrites, effects))

    def _rewritten(self) -> tuple[str, ...]:
        """Tables with a new file since the last look; who writes one holds the strongest lock."""
        candidates = [
            table
            for table in self._names
            if not self._single or (table in self._held and self._held[table].strength == STRONGEST)
        ]
        if not candidates:
            return ()
        found = dict(rows(self._worker, FILES, candidates))
        changed = [table for table in found if found[table] != self._files[table]]
        self._files.update(found)
        return tuple(sorted(self._names[table] for table in changed))

    def _forget(self) -> None:
        self._held = {}
        self._seen = set()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.own_seconds += time.monotonic() - began

    def _as_step(self, closed: _Closed) -> Step:
        return Step(
            migration=closed.open.name,
            seconds=closed.seconds,
            statements=tuple(closed.open.statements.values()),
            locks=tuple(
                self._as_lock(table, taken, closed)
                for table, taken in sorted(closed.open.locks.items())
            ),
            rewrites=closed.rewrites,
            effects=closed.effects,
        )

    def _as_lock(self, table: int, taken: _Taken, closed: _Closed) -> Lock:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", STRENGTH[taken.strength].removesuffix("Lock"))
        released = self._released if self._single else closed.ended
        return Lock(self._names[table], words.upper(), max(0.0, released - taken.at))

    def _strongest(self) -> tuple[Lock, ...]:
        """Per table, by the table's name; of two equal ones (not in one transaction) the longer."""
        best: dict[int, tuple[int, float, Lock]] = {}
        for closed in self._steps:
            for table, taken in closed.open.locks.items():
                lock = self._as_lock(table, taken, closed)
                new = (taken.strength, lock.seconds, lock)
                if table not in best or new[:2] > best[table][:2]:
                    best[table] = new
        return tuple(sorted((lock for *_, lock in best.values()), key=lambda lock: lock.table))


def peak_memory_mb() -> int:
    """The most memory that this process used, in MB. Linux reports kilobytes, macOS bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (MB if sys.platform == "darwin" else 1024)


def _text(sql: Any, context: Any) -> str:
    """A statement as text; psycopg's composed ones need a connection to become one."""
    if isinstance(sql, str):
        return sql
    if isinstance(sql, bytes):
        return sql.decode(errors="replace")
    as_string = getattr(sql, "as_string", None)
    if as_string is not None:
        return str(as_string(context["connection"].connection))
    return str(sql)
