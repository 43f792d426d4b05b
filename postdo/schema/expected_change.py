"""Compute the next expected schema from the previous one and from what a release changed. Pure.

Reading all migrations again would cost a rebuild of the database. Instead, what is gone between the
schema before the release and the schema after it is removed from the expected one, and what is new
is added. Drift that was tolerated is in both schemas, so it cancels out and stays drift.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from postdo.schema.catalogue import INFORMATION, Catalogue, Entry, Identity

POSITION = "position"  # of a column: it moves up when another one goes, and is the same column

_Key = tuple[Identity, tuple[str, ...]]
_Place = tuple[str, str, str]


def advance(expected: Catalogue, before: Catalogue, after: Catalogue) -> Catalogue:
    """The expected schema after a release, from the one before it and what the release changed.

    That is ``expected`` without what ``after`` lacks of ``before``, and with what ``after`` has
    more. So a difference that was tolerated stays one. Objects are matched as in a comparison, but
    what is only information about them counts too.
    """
    was, there = _counted(before), _counted(after)
    gone, new = was - there, there - was
    dropped = _places(before) - _places(after)
    kept: list[Entry] = []
    for entry in expected.entries:
        key = _key(entry)
        if gone[key] > 0:
            gone[key] -= 1
        elif key in there or not _went(entry, dropped):
            kept.append(entry)
    added: list[Entry] = []
    for entry in after.entries:
        if new[_key(entry)] > 0:
            new[_key(entry)] -= 1
            added.append(entry)
    replaced = {_place(entry) for entry in added}
    rest = [entry for entry in kept if _place(entry) not in replaced]
    return Catalogue(after.major, tuple(_as_placed(rest + added, before, after)))


def _went(entry: Entry, dropped: frozenset[_Place]) -> bool:
    """Whether this was dropped, or what it is on: by name, whatever else was tolerated about it."""
    if entry.named and _place(entry) in dropped:
        return True
    bare = entry.table.partition(".")[2]
    columns = "" if entry.named else entry.facts.get("columns") or entry.facts.get("column", "")
    on = {(kind, entry.table, bare) for kind in ("table", "view")}
    on |= {("column", entry.table, column) for column in columns.split(",")}
    return not on.isdisjoint(dropped)


def _as_placed(entries: Iterable[Entry], before: Catalogue, after: Catalogue) -> Iterator[Entry]:
    """Where columns came or went, those of that table stand as they do now."""
    was, now = _positions(before), _positions(after)
    for entry in entries:
        there = now.get(entry.table, {})
        if entry.kind == "column" and entry.name in there and there != was.get(entry.table):
            entry = replace(entry, facts={**entry.facts, POSITION: there[entry.name]})  # noqa: PLW2901
        yield entry


def _positions(catalogue: Catalogue) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for entry in catalogue.of("column"):
        if POSITION in entry.facts:
            found.setdefault(entry.table, {})[entry.name] = entry.facts[POSITION]
    return found


def _counted(catalogue: Catalogue) -> Counter[_Key]:
    return Counter(map(_key, catalogue.entries))


def _key(entry: Entry) -> _Key:
    more = sorted(INFORMATION.get(entry.kind, frozenset()) - {POSITION})
    return entry.identity, tuple(entry.facts.get(fact, "") for fact in more)


def _places(catalogue: Catalogue) -> frozenset[_Place]:
    return frozenset(_place(entry) for entry in catalogue.entries if entry.named)


def _place(entry: Entry) -> _Place:
    return entry.kind, entry.table, entry.name
