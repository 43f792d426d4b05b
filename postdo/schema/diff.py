"""Compare two schemas: what differs, whether it matters, which SQL removes it. Pure.

Objects with a name of their own (tables, views, types, functions, triggers) are matched by name,
here. Columns and sequences are compared in ``diff_columns``. Constraints and indexes have generated
names, so ``diff_constraints`` matches them by definition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from postdo.base.formatting import table as shown
from postdo.schema import diff_columns, diff_constraints, repair_tables, repair_views
from postdo.schema.catalogue import Catalogue, Entry
from postdo.schema.difference import Difference, Pair, difference, label
from postdo.schema.quoting import Sql

__all__ = ["Difference", "compare"]

# The order in which the statements of several differences can be run.
ORDER = (
    *("schema", "extension", "collation", "type", "function", "table", "column", "sequence"),
    *("constraint", "index", "view", "trigger", "policy"),
)
# Kinds on a table, which matter where they are not expected; of the others an extra one does not.
ON_TABLES = frozenset({"trigger", "policy"})
# Facts of a table that change nothing about what it accepts.
MINOR = frozenset({"options", "access method"})


def compare(expected: Catalogue, actual: Catalogue) -> tuple[Difference, ...]:
    """How ``actual`` differs from ``expected``: alarms first, in a stable order.

    The repair statements of all differences can be run in this order. Kinds are compared one after
    another; generated names do not count (see ``catalogue.Entry.identity``).
    """
    pair = Pair(expected, diff_columns.adopt(expected, actual))
    found = [
        *_named(pair),
        *diff_columns.columns(pair),
        *diff_columns.sequences(pair),
        *diff_constraints.rules(pair),
    ]
    # A sort is stable: what one of them found keeps the order in which it was found.
    return tuple(sorted(found, key=lambda one: (not one.alarm, _step(one))))


def _step(one: Difference) -> int:
    """An extra trigger or policy goes first: the type of a column that it names cannot change."""
    extra = one.kind in ON_TABLES and one.again != ()
    return -1 if extra else ORDER.index(one.kind)


# What has a name of its own, and how that is made and removed. For the other kinds only a person
# can know what else hangs on it.
NAMED = (*("schema", "extension", "collation", "type", "function"), *("view", "trigger", "policy"))
_CREATE: dict[str, Callable[[Entry], Sql]] = {
    "trigger": repair_views.create_trigger,
    "policy": repair_views.create_policy,
}
_DROP: dict[str, Callable[[Entry], Sql]] = {
    "table": repair_tables.drop_table,
    "view": repair_views.drop_view,
    "trigger": repair_views.drop_trigger,
    "policy": repair_views.drop_policy,
}


def _create(entry: Entry) -> Sql:
    return _CREATE[entry.kind](entry) if entry.kind in _CREATE else ()


def _drop(entry: Entry) -> Sql:
    return _DROP[entry.kind](entry) if entry.kind in _DROP else ()


def _named(pair: Pair) -> Iterator[Difference]:
    missing_tables = sorted(pair.expected.tables - pair.actual.tables)
    known, there = _relations(pair.expected), _relations(pair.actual)
    for kind in (*NAMED, "table"):
        wanted = {(entry.table, entry.name): entry for entry in pair.expected.of(kind)}
        real = {(entry.table, entry.name): entry for entry in pair.actual.of(kind)}
        for key in sorted(wanted.keys() | real.keys(), key=lambda key: _turn(pair, *key)):
            one, other = wanted.get(key), real.get(key)
            if one is not None and other is not None:
                if one.essence != other.essence:
                    yield from _changed(pair, one, other)
                yield from _information(one, other)
            elif one is not None and (kind not in ON_TABLES or one.table in there):
                yield _missing(pair, one, missing_tables)
            elif other is not None and (kind not in ON_TABLES or other.table in known):
                yield _extra(pair, other)


def _turn(pair: Pair, relation: str, name: str) -> tuple[int, str, str]:
    """Where in the order: a view is made after the views that it reads, and removed before."""
    if any(view.table == relation for view in pair.expected.of("view")):
        return (_depth(pair.expected, relation), relation, name)
    return (-_depth(pair.actual, relation), relation, name)


def _depth(catalogue: Catalogue, relation: str) -> int:
    """How many views stand between a relation and the tables."""
    read = next((v.facts["reads"] for v in catalogue.of("view") if v.table == relation), None)
    if read is None:
        return 0
    return 1 + max((_depth(catalogue, other) for other in read.split(",")), default=0)


def _relations(catalogue: Catalogue) -> frozenset[str]:
    return catalogue.tables | {view.table for view in catalogue.of("view")}


def _missing(pair: Pair, entry: Entry, missing_tables: list[str]) -> Difference:
    if entry.kind == "view":
        sql = repair_views.create_whole_view(pair.expected, entry)
        return difference(entry, f"{label(entry)} is missing", sql)
    if entry.kind != "table":
        return difference(entry, f"{label(entry)} is missing", _create(entry))
    sql = repair_tables.create_table(pair.expected, entry)
    if entry.table == missing_tables[-1]:
        # After the last one, because they may refer to each other.
        sql += repair_tables.foreign_keys(pair.expected, missing_tables)
    return difference(entry, f"{label(entry)} is missing", sql)


def _extra(pair: Pair, entry: Entry) -> Difference:
    sql, again = _drop(entry), _again(pair, entry)
    read = sorted(pair.expected.tables.intersection(entry.facts.get("reads", "").split(",")))
    if read:
        # It stands in the way of a migration that changes what it reads (HAZARDS 27).
        what = f"unexpected {label(entry)}, which reads {shown(read[0])}"
        return Difference(entry.kind, read[0], entry.table, what, True, sql, again)
    what = f"unexpected {label(entry)}"
    alarm = entry.kind in ON_TABLES
    return Difference(entry.kind, entry.table, entry.name, what, alarm, sql, again)


def _again(pair: Pair, entry: Entry) -> Sql:
    """What makes an extra object again that a migration needs out of its way (HAZARDS 27)."""
    if entry.kind == "view":
        return repair_views.create_whole_view(pair.actual, entry)
    return _create(entry)


def _changed(pair: Pair, one: Entry, other: Entry) -> Iterator[Difference]:
    if one.kind == "table":
        yield from _table_facts(one, other)
    elif one.kind == "view":
        sql = repair_views.change_view(pair.expected, pair.actual, one, other)
        yield difference(one, f"{label(one)} has another definition", sql)
    elif one.kind == "trigger":
        how = "has another definition"
        if one.facts["definition"] == other.facts["definition"]:
            how = (
                "is disabled"
                if other.facts["enabled"] == "D"
                else ("fires in another session_replication_role")
            )
        yield difference(one, f"{label(one)} {how}", repair_views.change_trigger(one, other))
    elif one.kind == "function":
        yield difference(one, f"{label(one)} has another definition", ())
    else:
        sql = (*_drop(other), *_create(one))
        yield difference(one, f"{label(one)} {_facts(one, other)}", sql)


def _table_facts(one: Entry, other: Entry) -> Iterator[Difference]:
    for fact, value in one.facts.items():
        if value != other.facts[fact]:
            what = (
                f"{label(one)} has {fact} {other.facts[fact] or 'none'}, expected {value or 'none'}"
            )
            sql = repair_tables.table_fact(one, fact)
            yield difference(one, what, sql, alarm=fact not in MINOR)


def _facts(one: Entry, other: Entry) -> str:
    """What differs, for a message: ``has labels 'a', 'b', expected 'a'``."""
    return "has " + "; ".join(
        f"{fact} {other.facts[fact] or 'none'}, expected {value or 'none'}"
        for fact, value in one.essence.items()
        if value != other.facts[fact]
    )


def _information(one: Entry, other: Entry) -> Iterator[Difference]:
    if one.kind == "extension" and one.facts != other.facts:
        there = f"{other.facts['version']} in schema {other.facts['schema']}"
        what = f"{label(one)} is {there}, expected {one.facts['version']} in {one.facts['schema']}"
        yield difference(one, what, (), alarm=False)
