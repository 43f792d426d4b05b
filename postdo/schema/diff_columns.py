"""Columns and the sequences that feed them, compared. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from postdo.base.formatting import table as shown
from postdo.schema import repair_tables
from postdo.schema.catalogue import Catalogue, Entry
from postdo.schema.difference import Difference, Pair, difference, label

Place = tuple[str, str]  # a table and its column

# What a sequence that is only read at a restart or in TRUNCATE … RESTART IDENTITY starts with.
START = "start"
OPTIONS = ("type", "increment", "minimum", "maximum", "cycle")


def adopt(expected: Catalogue, actual: Catalogue) -> Catalogue:
    """``actual``, but a serial column whose sequence lost its owner is read as serial still.

    Otherwise one lost ownership would be reported as three differences: column, default, sequence.
    """
    numbered = {place for place, entry in _columns(expected).items() if entry.facts["identity"]}
    at_home = {_place(entry) for entry in actual.of("sequence")}
    taken = {_place(entry): entry.name for entry in actual.of("sequence")}
    spoken_for = {name for place, name in taken.items() if place in numbered}
    entries = []
    for entry in actual.entries:
        place, source = (entry.table, entry.name), entry.facts.get("sequence", "")
        if (
            entry.kind == "column"
            and source not in ("", *spoken_for)
            and not entry.facts["identity"]
            and place in numbered - at_home
        ):
            spoken_for.add(source)
            facts = {**entry.facts, "identity": "d", "default": "", "written": "serial"}
            entry = replace(entry, facts=facts)  # noqa: PLW2901
        entries.append(entry)
    return replace(actual, entries=tuple(entries))


def _columns(catalogue: Catalogue) -> dict[Place, Entry]:
    return {
        (entry.table, entry.name): entry
        for entry in catalogue.of("column")
        if entry.facts["from"] != "view"
    }


def _place(sequence: Entry) -> Place:
    """Where it belongs; one that belongs nowhere is its own place."""
    column = sequence.facts["column"]
    return (sequence.table, column) if column else ("", sequence.name)


# Columns


def columns(pair: Pair) -> Iterator[Difference]:
    """Missing, extra and changed columns of the tables that both schemas have."""
    tables = pair.both("table")
    wanted, real = _columns(pair.expected), _columns(pair.actual)
    for place in sorted(wanted.keys() | real.keys()):
        if place[0] not in tables:
            continue
        one, other = wanted.get(place), real.get(place)
        if one is not None and other is not None:
            yield from _changed(pair, one, other)
        # A column that came from a parent table is the parent's difference.
        elif one is not None and one.facts["from"] != "parent":
            yield difference(one, f"{label(one)} is missing", repair_tables.add_column(one))
        elif other is not None and other.facts["from"] != "parent":
            what = f"unexpected {label(other)}"
            yield difference(other, what, repair_tables.drop_column(other))
    yield from _order(wanted, real, tables)


def _changed(pair: Pair, one: Entry, other: Entry) -> Iterator[Difference]:
    facts, real = one.facts, other.facts
    retyped = facts["from"] != "parent" and _type(one) != _type(other)
    if retyped:
        what = f"{label(one)} is {_type(other)}, expected {_type(one)}"
        yield difference(one, what, repair_tables.change_type(one, other, pair.actual))
    if facts["nullable"] != real["nullable"]:
        accepts = "does not accept" if real["nullable"] == "no" else "accepts"
        yield difference(one, f"{label(one)} {accepts} NULL", repair_tables.change_null(one))
    if facts["generated"] or real["generated"]:
        yield from _expression(one, other)
    elif facts["identity"] != real["identity"]:
        what = f"{label(one)} is {_numbered(other)}, expected {_numbered(one)}"
        sequences = (_owned(pair.expected, one), _owned(pair.actual, one))
        yield difference(one, what, repair_tables.change_identity(one, other, *sequences))
    # A default is written with the column's type, and changing that back sets it too.
    elif facts["default"] != real["default"] and not (
        retyped and facts["default"] and real["default"]
    ):
        there, wanted = real["default"] or "none", facts["default"] or "none"
        what = f"{label(one)} has the default {there}, expected {wanted}"
        yield difference(one, what, repair_tables.change_default(one))
    elif facts["written"] != real["written"]:
        what = f"{label(one)} is {real['written']}, expected {facts['written']}; both work the same"
        yield difference(one, what, (), alarm=False)


def _expression(one: Entry, other: Entry) -> Iterator[Difference]:
    if any(one.facts[fact] != other.facts[fact] for fact in ("generated", "default")):
        what = f"{label(one)} is {_computed(other)}, expected {_computed(one)}"
        yield difference(one, what, repair_tables.change_generated(one, other))


def _owned(catalogue: Catalogue, column: Entry) -> Entry | None:
    """The sequence that belongs to a column."""
    place = (column.table, column.name)
    return next((entry for entry in catalogue.of("sequence") if _place(entry) == place), None)


def _type(column: Entry) -> str:
    collation = column.facts["collation"]
    return column.facts["type"] + (f" COLLATE {collation}" if collation else "")


def _computed(column: Entry) -> str:
    if not column.facts["generated"]:
        return "not generated"
    return f"generated as {column.facts['default']}"


def _numbered(column: Entry) -> str:
    names = {"a": "identity always", "d": "identity by default"}
    return names.get(column.facts["identity"], "no identity")


def _order(
    wanted: dict[Place, Entry], real: dict[Place, Entry], tables: frozenset[str]
) -> Iterator[Difference]:
    common: dict[str, list[Place]] = {}
    for place in sorted(wanted.keys() & real.keys()):
        common.setdefault(place[0], []).append(place)
    for table, places in common.items():
        one, other = (
            sorted(places, key=lambda place: int(there[place].facts["position"]))
            for there in (wanted, real)
        )
        if table in tables and one != other:
            what = f"the columns of table {shown(table)} are in another order"
            name = table.partition(".")[2]
            yield Difference("table", table, name, what, False, ())


# Sequences


def sequences(pair: Pair) -> Iterator[Difference]:
    """Changed, missing and extra sequences, matched by the column that owns them, else by name."""
    tables = pair.both("table")
    told = _told_by_columns(pair)
    wanted = {_place(entry): entry for entry in pair.expected.of("sequence")}
    left = {_place(entry): entry for entry in pair.actual.of("sequence")}
    pairs = {place: left.pop(place) for place in wanted if place in left}
    for place, entry in wanted.items():
        if place not in pairs:
            stray = _stray(pair, place, entry, left)
            if stray is not None:
                pairs[place] = left.pop(_place(stray))
    for place, entry in sorted(wanted.items()):
        if place in pairs:
            yield from _options(entry, pairs[place])
        elif not entry.table or (entry.table in tables and place not in told):
            what = f"{label(entry)} is missing"
            yield difference(entry, what, repair_tables.create_sequence(entry))
    for place, entry in sorted(left.items()):
        if not entry.table or (entry.table in tables and place not in told):
            what = f"unexpected {label(entry)}"
            sql = repair_tables.drop_sequence(entry)
            yield difference(entry, what, sql, alarm=entry.table != "")


def _told_by_columns(pair: Pair) -> frozenset[Place]:
    """Columns whose own difference says all there is to say about their sequence."""
    wanted, real = _columns(pair.expected), _columns(pair.actual)
    return frozenset(
        place
        for place in wanted.keys() | real.keys()
        if place not in wanted
        or place not in real
        or wanted[place].facts["identity"] != real[place].facts["identity"]
    )


def _stray(pair: Pair, place: Place, entry: Entry, left: dict[Place, Entry]) -> Entry | None:
    """The sequence that feeds this column, or has this name, and belongs elsewhere."""
    column = _columns(pair.actual).get(place)
    source = column.facts["sequence"] if column is not None else entry.name
    return next((other for other in left.values() if other.name == source), None)


def _options(one: Entry, other: Entry) -> Iterator[Difference]:
    if _place(one) != _place(other) and (one.facts["column"] or other.facts["column"]):
        what = f"sequence {shown(other.name)} belongs to {_owner(other)}, expected {_owner(one)}"
        sql = repair_tables.own(one, other)
        yield Difference("sequence", one.table or other.table, other.name, what, True, sql)
    changed = [fact for fact in (*OPTIONS, START) if one.facts[fact] != other.facts[fact]]
    if changed:
        there = ", ".join(
            f"{fact} {other.facts[fact]}, expected {one.facts[fact]}" for fact in changed
        )
        what = f"sequence {shown(other.name)} has {there}"
        sql = repair_tables.change_sequence(one, other)
        yield Difference("sequence", one.table, other.name, what, not _harmless(one, other), sql)


def _owner(sequence: Entry) -> str:
    column = sequence.facts["column"]
    return f"{shown(sequence.table)}.{column}" if column else "no column"


def _harmless(one: Entry, other: Entry) -> bool:
    """Whether it gives at least as many numbers: before PostgreSQL 10 all were bigint."""
    changed = {fact for fact in OPTIONS if one.facts[fact] != other.facts[fact]}
    return changed <= {"type", "maximum"} and int(other.facts["maximum"]) >= int(
        one.facts["maximum"]
    )
