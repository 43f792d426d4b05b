"""What a run changed, done to the schema that was expected before it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from postdo.schema.advance import advance
from postdo.schema.catalogue import Catalogue, Entry


def column(table: str, name: str, kind: str = "integer") -> Entry:
    return Entry("column", f"public.{table}", name, {"type": kind, "nullable": "no"})


def index(table: str, name: str, columns: str) -> Entry:
    return Entry("index", f"public.{table}", name, {"columns": columns, "unique": "no"})


def catalogue(*entries: Entry) -> Catalogue:
    return Catalogue(17, entries)


def as_set(found: Catalogue) -> set[tuple[str, str, str, str]]:
    return {(e.kind, e.table, e.name, str(sorted(e.facts.items()))) for e in found.entries}


def test_without_drift_the_schema_after_the_run_is_the_expected_one() -> None:
    before = catalogue(column("a", "x"), index("a", "a_x", "x"))
    after = catalogue(column("a", "x", "bigint"), column("b", "y"), index("a", "a_x", "x"))
    assert as_set(advance(before, before, after)) == as_set(after)


def test_what_was_made_by_hand_before_the_run_does_not_become_expected() -> None:
    expected = catalogue(column("a", "x"))
    by_hand = column("a", "by_hand")
    before = catalogue(column("a", "x"), by_hand)
    after = catalogue(column("a", "x"), by_hand, column("a", "new"))
    found = as_set(advance(expected, before, after))
    assert found == as_set(catalogue(column("a", "x"), column("a", "new")))


def test_what_was_dropped_by_hand_before_the_run_stays_expected() -> None:
    expected = catalogue(column("a", "x"), column("a", "lost"))
    before = catalogue(column("a", "x"))
    after = catalogue(column("a", "x"), column("a", "new"))
    assert ("column", "public.a", "lost") in {
        e[:3] for e in as_set(advance(expected, before, after))
    }


def test_an_index_is_removed_by_what_it_is_although_its_name_was_generated_anew() -> None:
    expected = catalogue(column("a", "x"), index("a", "a_x_1111", "x"))
    before = catalogue(column("a", "x"), index("a", "a_x_2222", "x"))
    after = catalogue(column("a", "x"))
    assert as_set(advance(expected, before, after)) == as_set(after)


names = st.sampled_from(["a", "b", "c", "d"])
types = st.sampled_from(["integer", "bigint", "text"])
schemas = st.dictionaries(st.tuples(names, names), types, max_size=8).map(
    lambda columns: catalogue(*(column(t, n, kind) for (t, n), kind in columns.items()))
)


@given(schemas, schemas)
def test_from_the_real_schema_it_is_always_the_one_after(
    before: Catalogue, after: Catalogue
) -> None:
    assert as_set(advance(before, before, after)) == as_set(after)


@given(schemas, schemas)
def test_a_run_that_changes_nothing_changes_no_expectation(
    expected: Catalogue, real: Catalogue
) -> None:
    assert as_set(advance(expected, real, replace(real))) == as_set(expected)
