"""Compare constraints and indexes by their definition, not by their name. Pure.

Django generates their names from a hash, so the same constraint can have another name in another
database. Equal definitions are paired first, each one once; of the rest, the most similar.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator

from postdo.base.formatting import table as shown
from postdo.schema import repair_tables, repair_views
from postdo.schema.catalogue import Catalogue, Entry
from postdo.schema.difference import Difference, Pair, difference, label

NAMES = {"p": "primary key", "u": "unique", "f": "foreign key", "c": "check", "x": "exclusion"}


def rules(pair: Pair) -> Iterator[Difference]:
    """Differences of constraints and indexes, on tables and views that both schemas have.

    Foreign keys come last, because their repair may need the others.
    """
    relations = pair.both("table") | pair.both("view")
    wanted, real = _by_relation(pair.expected), _by_relation(pair.actual)
    extra_columns = _columns(pair.actual) - _columns(pair.expected)
    found = [
        (entry.facts.get("type") == "f", one)
        for relation in sorted(relations)
        for kind in ("constraint", "index")
        for entry, one in _compare(
            wanted.get((relation, kind), []),
            # What is on a column that is not expected goes with the column.
            [
                entry
                for entry in real.get((relation, kind), [])
                if extra_columns.isdisjoint(
                    (relation, name) for name in entry.facts["columns"].split(",")
                )
            ],
        )
    ]
    yield from (one for _, one in sorted(found, key=lambda item: item[0]))


def _by_relation(catalogue: Catalogue) -> dict[tuple[str, str], list[Entry]]:
    found: dict[tuple[str, str], list[Entry]] = {}
    for entry in catalogue.entries:
        if entry.kind in ("constraint", "index"):
            found.setdefault((entry.table, entry.kind), []).append(entry)
    return found


def _columns(catalogue: Catalogue) -> frozenset[tuple[str, str]]:
    return frozenset((entry.table, entry.name) for entry in catalogue.of("column"))


def _compare(wanted: list[Entry], real: list[Entry]) -> Iterator[tuple[Entry, Difference]]:
    """Each expected one takes an equal one, each only once; then the most similar."""
    missing, extra = sorted(wanted, key=_name), sorted(real, key=_name)
    # Of two equal ones, the one with the expected name is the expected one.
    for same in (lambda entry: (entry.identity, entry.name), lambda entry: entry.identity):
        _match(missing, extra, same)
    for one, other in _match(missing, extra, _said):
        yield one, _validity(one, other)
    for one, other in _match(missing, extra, _name) + _match(missing, extra, _subject):
        yield one, _changed(one, other)
    for entry in missing:
        yield entry, difference(entry, f"{_described(entry)} is missing", (_create(entry),))
    for entry in extra:
        yield entry, _extra(entry)


def _match(
    missing: list[Entry], extra: list[Entry], key: Callable[[Entry], Hashable]
) -> list[tuple[Entry, Entry]]:
    """Pairs with equal keys, taken out of both lists."""
    pairs = []
    for one in list(missing):
        other = next((entry for entry in extra if key(entry) == key(one)), None)
        if other is not None:
            missing.remove(one)
            extra.remove(other)
            pairs.append((one, other))
    return pairs


def _name(entry: Entry) -> str:
    return entry.name


def _said(entry: Entry) -> Hashable:
    return entry.facts["definition"]


def _subject(entry: Entry) -> Hashable:
    """A constraint is likely the same if its type and columns are; an index only by its name."""
    if entry.kind == "index":
        return ("index", entry.name)
    return (entry.facts["type"], entry.facts["columns"])


def _validity(one: Entry, other: Entry) -> Difference:
    # The name in this database is what a person needs to look at it.
    if other.facts["valid"] == "yes":
        what = f"{label(other)} is valid, expected NOT VALID"
        return difference(other, what, (), alarm=False)
    if other.kind == "index":
        what = f"{label(other)} is invalid, because a CREATE INDEX CONCURRENTLY failed"
        return difference(other, what, (repair_tables.reindex(other),))
    what = f"{_described(other)} is NOT VALID: existing rows were never checked"
    return difference(other, what, (repair_tables.validate(other),))


def _changed(one: Entry, other: Entry) -> Difference:
    what = f"{label(other)} is {_text(other)}, expected {_text(one)}"
    return difference(other, what, (_drop(other), _create(one)))


def _extra(entry: Entry) -> Difference:
    alarm = True
    if entry.kind == "index":
        alarm = entry.facts["unique"] == "yes" or entry.facts["valid"] == "no"
    state = "invalid " if entry.facts["valid"] == "no" else ""
    what = f"unexpected {state}{_described(entry)}"
    return difference(entry, what, (_drop(entry),), alarm=alarm)


def _described(entry: Entry) -> str:
    if entry.kind == "index":
        unique = "unique " if entry.facts["unique"] == "yes" else ""
        return f"{unique}index {entry.name} on {shown(entry.table)} ({entry.facts['columns']})"
    name = NAMES[entry.facts["type"]]
    return f"{name} constraint {entry.name} on {shown(entry.table)} ({entry.facts['columns']})"


def _text(entry: Entry) -> str:
    return entry.facts["definition"]


def _create(entry: Entry) -> str:
    return (
        repair_views.create_index(entry)
        if entry.kind == "index"
        else repair_tables.add_constraint(entry)
    )


def _drop(entry: Entry) -> str:
    return (
        repair_tables.drop_index(entry)
        if entry.kind == "index"
        else repair_tables.drop_constraint(entry)
    )
