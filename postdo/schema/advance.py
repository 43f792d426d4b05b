"""What a run changed, done to the schema that was expected before it. Pure.

So the expected schema of the next run costs nothing, also where the real one had differences that
were tolerated: they are in the schema before the run and in the one after it, and cancel out.
"""

from __future__ import annotations

from collections import Counter

from postdo.schema.catalogue import Catalogue, Entry

_Key = tuple[str, str, tuple[tuple[str, str], ...]]


def advance(expected: Catalogue, before: Catalogue, after: Catalogue) -> Catalogue:
    """``expected`` with what is gone from ``before`` to ``after`` removed, and what is new added.

    Objects are the same if kind, table and facts are; generated names may differ.
    """
    gone = _counted(before) - _counted(after)
    new = _counted(after) - _counted(before)
    kept: list[Entry] = []
    for entry in expected.entries:
        if gone[_key(entry)] > 0:
            gone[_key(entry)] -= 1
        else:
            kept.append(entry)
    added: list[Entry] = []
    for entry in after.entries:
        if new[_key(entry)] > 0:
            new[_key(entry)] -= 1
            added.append(entry)
    replaced = {(entry.kind, entry.table, entry.name) for entry in added}
    rest = [entry for entry in kept if (entry.kind, entry.table, entry.name) not in replaced]
    return Catalogue(after.major, tuple(rest + added))


def _counted(catalogue: Catalogue) -> Counter[_Key]:
    return Counter(map(_key, catalogue.entries))


def _key(entry: Entry) -> _Key:
    named = entry.kind not in ("constraint", "index", "sequence")
    facts = tuple(sorted(entry.facts.items()))
    return entry.kind, entry.table, ((("name", entry.name), *facts) if named else facts)
