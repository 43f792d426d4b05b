"""Test the SQL that removes drift on a copy, before it is shown to anybody.

``schema.repair_*`` writes SQL for each difference. Here each of these runs on a copy, in a
transaction of its own, and the schema is read again. The SQL is shown only if the difference is
gone and no new one appeared. If it failed, the reason is shown instead. If it changed values of the
table, a comment above it says so. Nothing is run on the database itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.config import Rehearse
from postdo.base.database import closing, message, rows
from postdo.base.errors import Refused
from postdo.copy import backup, verify_copy
from postdo.copy.scratch import connect_to, scratch_database
from postdo.django_migrations.history import Name, dotted
from postdo.drift.subject import Subject
from postdo.rehearsal.process import Job, work
from postdo.schema.catalogue import Catalogue, read
from postdo.schema.diff import Difference, compare
from postdo.schema.normalize import worded
from postdo.schema.quoting import qualified
from postdo.schema.repair_tables import DELETES
from postdo.schema.repair_views import create_index

BEGIN, COMMIT = "BEGIN;", "COMMIT;"
CHANGES = "-- this changes values of {}\n"
# Django's own record of an applied migration. Django 1.7 and newer.
UNRECORD = "DELETE FROM django_migrations WHERE app = %s AND name = %s"

# Columns of a table that are no row's own: computed ones come again by themselves. 14 to 18.
COLUMNS = """
SELECT quote_ident(attname) FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
ORDER BY attname
"""

_Place = tuple[str, str, str]


def untold(differences: tuple[Difference, ...]) -> tuple[Difference, ...]:
    """The differences without their SQL, for when nobody has tried it."""
    return tuple(replace(one, sql=(), again=()) for one in differences)


def tried(
    subject: Subject, differences: tuple[Difference, ...], wanted: Catalogue
) -> tuple[Difference, ...]:
    """Try the SQL of each difference on a copy. ``wanted``: the schema that they differ from.

    The copy has rows if ``REHEARSE`` and its limits allow that, otherwise only the schema. Without
    a copy no SQL is returned.
    """
    if not any(one.sql for one in differences):
        return differences
    try:
        with _copy(subject) as (there, how):
            subject.run.console.say(f"testing the SQL that removes the differences on {how}")
            _bring(subject, there)
            return _Trial(subject.session, there, wanted).all(differences)
    except Refused as error:
        why = f"it could not be tested on a copy: {error.what} ({error.next_step})"
        return tuple(
            replace(one, sql=(), again=(), why=why if one.sql else "") for one in differences
        )


def applies(subject: Subject, migration: Name) -> bool:
    """Whether Django can apply a recorded migration to a copy whose record of it was removed.

    The copy has rows if ``REHEARSE`` and its limits allow that. Other pending migrations do not
    count. ``False`` if no copy can be made.
    """
    policies = subject.run.config.policies
    try:
        with _copy(subject) as (there, how):
            subject.run.console.say(
                f"testing whether {dotted((migration,))} can be applied to {how}"
            )
            rows(there, UNRECORD, *migration)
            ((name,),) = rows(there, "SELECT current_database()")
            job = Job(
                database=str(name),
                mode="plain",
                trace=False,
                seconds=policies.rehearse_seconds,
                memory_mb=policies.memory_mb,
            )
            failure = work(subject.run, job).failure
    except Refused:
        return False
    return failure is None or failure.migration not in ("", dotted((migration,)))


@contextmanager
def _copy(subject: Subject) -> Iterator[tuple[BaseDatabaseWrapper, str]]:
    run, session = subject.run.without_backups(), subject.session
    full = run.config.policies.rehearse is Rehearse.FULL
    try:
        backup.check_room(run, session, schema_only=not full)
    except Refused:
        full = False
    with scratch_database(run, session) as name:
        backup.copy(run, session, name, schema_only=not full)
        with closing(connect_to(name, f"postdo drift {run.config.host}")) as there:
            yield there, "a copy of the database" if full else "a copy of the schema, without rows"


def _bring(subject: Subject, there: BaseDatabaseWrapper) -> None:
    """Make what a dump leaves out: indexes that are invalid, here valid if the rows allow it."""
    for index in read(subject.session).of("index"):
        if index.facts["valid"] == "no":
            _alone(there, (create_index(index),))


class _Trial:
    """Tries one after the other; each by itself first, so that any one of them can be chosen."""

    def __init__(
        self, session: BaseDatabaseWrapper, there: BaseDatabaseWrapper, wanted: Catalogue
    ) -> None:
        self._session = session
        self._there = there
        self._wanted = wanted
        self._left = self._differences()

    def all(self, differences: tuple[Difference, ...]) -> tuple[Difference, ...]:
        """With SQL that did it; the rest is tried once more after what stands before it."""
        found = [self._one(one, keep=False) if one.sql else one for one in differences]
        if not any(one.why for one in found):
            return tuple(found)
        for number, (one, alone) in enumerate(zip(differences, found, strict=True)):
            if not one.sql or not _at(self._left, one):
                continue
            after = self._one(one if alone.why else alone, keep=True)
            if alone.why and not after.why:
                found[number] = replace(after, what=f"{after.what} (after those above)")
        return tuple(found)

    def _one(self, one: Difference, *, keep: bool) -> Difference:
        """One difference. ``keep``: whether what its SQL does stays in the copy."""
        statements = tuple(text for text in one.sql if text not in (BEGIN, COMMIT))
        rows(self._there, "BEGIN")
        try:
            values = self._values(one.table)
            statements += self._rights(statements)
            left, changed = self._differences(), self._changed(one.table, values)
            back = self._comes_back(one)
        except DatabaseError as error:
            rows(self._there, "ROLLBACK")
            return replace(
                one, sql=(), again=(), why=f"the repair failed on a copy: {message(error)}"
            )
        stays = _at(left, one) >= max(1, _at(self._left, one))
        if stays or not _alarms(left) <= _alarms(self._left):
            rows(self._there, "ROLLBACK")
            why = (
                "the repair left this difference"
                if stays
                else "the repair caused another difference"
            )
            return replace(one, sql=(), again=(), why=why)
        rows(self._there, "COMMIT" if keep else "ROLLBACK")
        if keep:
            self._left = left
        warning = (
            CHANGES.format(", ".join(changed)) if changed and DELETES not in one.sql[0] else ""
        )
        sql = (warning + BEGIN, *statements, COMMIT)
        return replace(one, sql=sql, again=back)

    def _rights(self, statements: tuple[str, ...]) -> tuple[str, ...]:
        """Run them. What gives the objects that were made anew their owner and privileges back."""
        before = verify_copy.objects(self._there)
        _run(self._there, statements)
        now = verify_copy.objects(self._there)
        anew = frozenset(name for name, oid in before.items() if now.get(name, oid) != oid)
        rights = verify_copy.rights(self._session, anew) if anew else ()
        _run(self._there, rights)
        return rights

    def _comes_back(self, one: Difference) -> tuple[str, ...]:
        """What makes it again, if that works too; the copy is then as it was."""
        if not one.again:
            return ()
        statements = tuple(text for text in one.again if text not in (BEGIN, COMMIT))
        rows(self._there, "SAVEPOINT back")
        try:
            _run(self._there, statements)
            worked = self._differences() == self._left
        except DatabaseError:
            worked = False
        rows(self._there, "ROLLBACK TO SAVEPOINT back")
        return (BEGIN, *statements, COMMIT) if worked else ()

    def _differences(self) -> tuple[Difference, ...]:
        actual = worded(self._there, read(self._there), self._wanted)
        return compare(self._wanted, actual)

    def _values(self, table: str) -> dict[str, str]:
        """A checksum of what each column of a table holds, as text."""
        name = qualified(table) if table else ""
        columns = [column for (column,) in rows(self._there, COLUMNS, name)] if name else []
        if not columns:
            return {}
        sums = (f"sum(hashtextextended({column}::text, 0))::text" for column in columns)
        (values,) = rows(self._there, f"SELECT {', '.join(sums)} FROM {name}")  # noqa: S608  quoted
        return dict(zip(columns, values, strict=True))

    def _changed(self, table: str, before: dict[str, str]) -> list[str]:
        now = self._values(table)
        return [column for column, value in before.items() if now.get(column, value) != value]


def _run(session: BaseDatabaseWrapper, statements: tuple[str, ...]) -> None:
    for statement in statements:
        rows(session, statement)
    rows(session, "SET CONSTRAINTS ALL IMMEDIATE")


def _alone(session: BaseDatabaseWrapper, statements: tuple[str, ...]) -> None:
    rows(session, "BEGIN")
    try:
        _run(session, statements)
    except DatabaseError:
        rows(session, "ROLLBACK")
    else:
        rows(session, "COMMIT")


def _at(differences: tuple[Difference, ...], one: Difference) -> int:
    """How many of them are at the same object."""
    return sum(_place(other) == _place(one) for other in differences)


def _alarms(differences: tuple[Difference, ...]) -> frozenset[_Place]:
    return frozenset(_place(one) for one in differences if one.alarm)


def _place(one: Difference) -> _Place:
    return one.kind, one.table, one.name
