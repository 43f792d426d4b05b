"""Decide whether a schema proves that the record of a migration is wrong. Pure.

Two schemas are given: what the migrations produce with the record as it is, and with the record of
one migration corrected. They differ by what that migration does. The real schema is proof only if,
wherever the two differ, it has exactly what the corrected one has. If an object was changed or
renamed by hand, it agrees with neither, and nothing is proved. Differences elsewhere do not matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import replace

from postdo.schema.catalogue import Catalogue, Entry, Identity
from postdo.schema.diff import MINOR

_Place = tuple[str, str, str]


def proves(corrected: Catalogue, as_recorded: Catalogue, actual: Catalogue) -> bool:
    """Whether ``actual`` equals ``corrected`` wherever the two others differ.

    ``as_recorded``: the schema that the migrations make with the record as it is. ``corrected``:
    with the record of one migration corrected. They differ by what that migration does. An object
    that somebody changed or renamed equals neither, and proves nothing. Differences elsewhere do
    not count.
    """
    right, wrong, real = (_counted(one) for one in (corrected, as_recorded, actual))
    if right == wrong:  # it does nothing that a schema shows
        return False
    if any(real[identity] < count for identity, count in (right - wrong).items()):
        return False
    if any(real[identity] > right[identity] for identity in wrong - right):
        return False
    gone = _places(as_recorded) - _places(corrected)
    if not gone.isdisjoint(_places(actual)):
        return False
    known = _places(as_recorded) | _places(corrected)
    strangers = {_likeness(actual, place) for place in _places(actual) - known}
    return strangers.isdisjoint(_likeness(as_recorded, place) for place in gone)


def _counted(catalogue: Catalogue) -> Counter[Identity]:
    return Counter(entry.identity for entry in _telling(catalogue))


def _places(catalogue: Catalogue) -> frozenset[_Place]:
    return frozenset((entry.kind, entry.table, entry.name) for entry in _telling(catalogue))


def _likeness(catalogue: Catalogue, place: _Place) -> Hashable:
    """Equal for two columns, or two tables, of which one may be the other one renamed."""
    kind, table, name = place
    if kind == "table":
        columns = (one for one in catalogue.of("column") if one.table == table)
        return frozenset((one.name, one.facts["type"]) for one in columns)
    if kind == "column":
        column = next(c for c in catalogue.of(kind) if (c.table, c.name) == (table, name))
        return table, tuple(sorted(column.essence.items()))
    return place


def _telling(catalogue: Catalogue) -> Iterator[Entry]:
    """Its objects, without what somebody tunes, and the sequence that is a part of its column."""
    for entry in catalogue.entries:
        if entry.kind == "table":
            facts = {fact: text for fact, text in entry.facts.items() if fact not in MINOR}
            yield replace(entry, facts=facts)
        elif entry.named or entry.kind != "sequence":
            yield entry
