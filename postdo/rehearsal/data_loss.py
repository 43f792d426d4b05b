"""Find out which data a run of migrations would delete, and how much of it.

Columns are compared before and after by identity, which is the table's oid and the column's number
(pg_attribute.attnum), not by name. A renamed column keeps its identity and is no loss. A column
whose identity is gone was dropped; one whose type changed may round or truncate its values.

Then the values are counted, because dropping an empty column loses nothing. They have to be counted
on data from before the run: on the copy, after its one transaction is rolled back. If the
migrations committed on the copy, or if the copy has no rows, they are counted in production, with a
timeout of ``COUNT_MS`` for each count; a count that fails is replaced by the estimated number of
rows.

Values that a migration moved elsewhere before it dropped their column are not lost. So the tracer
counts a column's values just before the DROP, and no more than these count as lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.database import rows
from postdo.rehearsal.trace import Effect, Loss, Rename, Step
from postdo.schema.catalogue import Catalogue, Identity

# Every column of the project's tables: table's id, number in it, names plain and quoted, type,
# whether it is computed from others. PostgreSQL 14 to 18.
COLUMNS = """
SELECT c.oid::bigint, a.attnum::int, n.nspname || '.' || c.relname, a.attname::text,
       format('%I.%I', n.nspname, c.relname), quote_ident(a.attname),
       format_type(a.atttypid, a.atttypmod), a.attgenerated <> ''
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'postdo_journal')
  AND c.relname <> 'django_migrations'
ORDER BY 1, 2
"""
# What the server thinks that a table holds; -1 if it never looked. PostgreSQL 14 to 18.
ESTIMATE = "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s)"
TIMEOUT = "SELECT current_setting('statement_timeout')"
SET_TIMEOUT = "SELECT set_config('statement_timeout', %s, false)"
COUNT_MS = 10_000  # for one count in production; a longer one is replaced by an estimate
# How many values a column has, as a text to be formatted with it.
COUNT_VALUES = "SELECT count({column.quoted}) FROM ONLY {column.quoted_table}"

TRUNCATE = re.compile(r"\btruncate\b", re.IGNORECASE)
# Types whose values a cast can change without an error.
ROUNDS = re.compile(
    r"(numeric|real|double precision|smallint|integer|bigint|character varying|character|text"
    r"|timestamp|time|date|interval)\b"
)
WHOLE = ("smallint", "integer", "bigint", "numeric", "text", "character varying")
_TYPE = re.compile(r"([a-z ]+?)(?:\((\d+)(?:,(-?\d+))?\))?( with(?:out)? time zone)?$")


@dataclass(frozen=True)
class Column:
    """A column before the run. ``quoted_table`` and ``quoted`` are for use in SQL."""

    table: str
    name: str
    quoted_table: str
    quoted: str
    type: str
    generated: bool


Place = tuple[int, int]  # id of a table, number of a column in it
Columns = Mapping[Place, Column]


@dataclass(frozen=True)
class Uncounted:
    """Data that may be lost. ``sql`` counts it on data from before the run.

    ``at_most``: how much of it was left when it was dropped; ``None`` if that was not counted.
    """

    kind: str
    table: str
    name: str
    sql: str
    at_most: int | None = None


def columns(session: BaseDatabaseWrapper) -> Columns:
    """Every column, by the id of its table and its number in it. These stay when it is renamed."""
    return {(table, number): Column(*what) for table, number, *what in rows(session, COLUMNS)}


def uncounted(
    before: Columns, after: Columns, dropped: Mapping[Place, int]
) -> tuple[Uncounted, ...]:
    """Tables and columns that are gone, and columns whose new type may hold less.

    ``dropped``: how many values some columns had when they were dropped.
    """
    tables = {table for table, _ in after}
    found: dict[Uncounted, None] = {}
    for (table, number), column in before.items():
        if table not in tables:
            sql = f"SELECT count(*) FROM ONLY {column.quoted_table}"  # noqa: S608  quoted
            found[Uncounted("table", column.table, "", sql)] = None
        elif column.generated:
            continue
        elif (table, number) not in after:
            at_most = dropped.get((table, number))
            sql = COUNT_VALUES.format(column=column)
            found[Uncounted("column", column.table, column.name, sql, at_most)] = None
        elif may_round(column.type, after[table, number].type):
            new = after[table, number].type
            sql = count_rounded(f"ONLY {column.quoted_table}", column.quoted, column.type, new)
            found[Uncounted("rounded", column.table, column.name, sql)] = None
    return tuple(found)


def count_rounded(table: str, column: str, old: str, new: str) -> str:
    """SQL that counts the values that a cast to the new type changes. Names must be quoted."""
    there = f"{column}::{new}::{old}"
    return f"SELECT count(*) FROM {table} WHERE {there} IS DISTINCT FROM {column}"  # noqa: S608


def may_round(before: str, after: str) -> bool:
    """Whether a cast between two types, as ``format_type`` writes them, can change a value."""
    old, new = _TYPE.match(before), _TYPE.match(after)
    if before == after or not (ROUNDS.match(before) and ROUNDS.match(after)) or not (old and new):
        return False
    return not _holds_all(old, new)


def _holds_all(old: re.Match[str], new: re.Match[str]) -> bool:
    if old[1] != new[1] and not (old[1] in WHOLE and new[1] in WHOLE):
        return (old[1], new[1]) == ("real", "double precision")
    if old[1] in WHOLE[:3]:
        return new[1] in WHOLE[:4] and new[2] is None  # a smaller whole number is an error
    if new[2] is None:
        return new[1] == old[1] or new[1] in ("text", "character varying")
    if old[2] is None or new[1] != old[1]:
        return False
    scales = int(old[3] or 0), int(new[3] or 0)
    return int(new[2]) - scales[1] >= int(old[2]) - scales[0] and scales[1] >= scales[0]


def truncated(before: Columns, steps: Sequence[Step]) -> list[Column]:
    """Tables, each by one of its columns, of which a TRUNCATE may have removed rows."""
    words = any(TRUNCATE.search(one.sql) for step in steps for one in step.statements)
    names = {name for step in steps for name in step.rewrites} if words else set()
    found = {column.table: column for column in before.values() if column.table in names}
    return list(found.values())


def count_values(session: BaseDatabaseWrapper, column: Column) -> int:
    """How many values of a column are not NULL."""
    ((count,),) = rows(session, COUNT_VALUES.format(column=column))
    return int(count)


def count_rows(session: BaseDatabaseWrapper, quoted_table: str) -> int:
    """How many rows a table has, without those of tables that inherit from it."""
    ((count,),) = rows(session, f"SELECT count(*) FROM ONLY {quoted_table}")  # noqa: S608  quoted
    return int(count)


def renames(before: Columns, after: Columns) -> tuple[Rename, ...]:
    """Tables and columns that have another name now. They are recognized by their ids."""
    tables, columns = set(), []
    for place, column in before.items():
        now = after.get(place)
        if now is None:
            continue
        if now.table != column.table:
            tables.add(Rename(column.table, "", now.table))
        if now.name != column.name:
            columns.append(Rename(column.table, column.name, now.name))
    return (*sorted(tables, key=lambda one: one.table), *columns)


def by_old_name(before: Columns, after: Columns, effects: Sequence[Effect]) -> dict[str, Effect]:
    """Effects on tables that existed before, by their name from before the run."""
    old = {table: column.table for (table, _), column in before.items()}
    was = {column.table: old[table] for (table, _), column in after.items() if table in old}
    return {was[effect.table]: effect for effect in effects if effect.table in was}


def count(session: BaseDatabaseWrapper, found: Sequence[Uncounted]) -> tuple[Loss, ...]:
    """Count each possible loss in the unchanged data of ``session``; those of 0 are left out."""
    losses = (Loss(one.kind, one.table, one.name, _count(session, one)) for one in found)
    return tuple(loss for loss in losses if loss.count)


def count_in_production(
    session: BaseDatabaseWrapper, found: Sequence[Uncounted]
) -> tuple[Loss, ...]:
    """Count as ``count`` does, with limited time for each; what takes longer is estimated."""
    ((usual,),) = rows(session, TIMEOUT)
    rows(session, SET_TIMEOUT, str(COUNT_MS))
    try:
        return count(session, found)
    finally:
        rows(session, SET_TIMEOUT, usual)


def count_anew(session: BaseDatabaseWrapper, found: Sequence[Uncounted]) -> tuple[Loss, ...] | None:
    """Count how much could be lost at most of the data as they are now; ``None`` if it takes long.

    How much a migration leaves before it drops something, only a run can tell.
    """
    ((usual,),) = rows(session, TIMEOUT)
    rows(session, SET_TIMEOUT, str(COUNT_MS))
    try:
        counts = [(one, int(rows(session, one.sql)[0][0])) for one in found]
    except DatabaseError:
        return None
    finally:
        rows(session, SET_TIMEOUT, usual)
    return tuple(Loss(one.kind, one.table, one.name, count) for one, count in counts if count)


def _count(session: BaseDatabaseWrapper, one: Uncounted) -> int:
    if one.at_most == 0:
        return 0
    count = _count_before(session, one)
    return count if one.at_most is None else min(count, one.at_most)


def _count_before(session: BaseDatabaseWrapper, one: Uncounted) -> int:
    try:
        return int(rows(session, one.sql)[0][0])
    except DatabaseError:
        # Out of time, or a cast that the rehearsed data could do: all of the table, then.
        found = rows(session, ESTIMATE, one.table)
        return max(1, int(found[0][0])) if found else 1


def altered(before: Catalogue, after: Catalogue) -> tuple[str, ...]:
    """Tables of ``before`` that were changed in their definition, or in what belongs to them."""
    old, new = _by_table(before), _by_table(after)
    return tuple(sorted(table for table in before.tables if old[table] != new.get(table)))


def _by_table(catalogue: Catalogue) -> dict[str, list[Identity]]:
    found: dict[str, list[Identity]] = {}
    for entry in catalogue.entries:
        if entry.table:
            found.setdefault(entry.table, []).append(entry.identity)
    return {table: sorted(entries) for table, entries in found.items()}
