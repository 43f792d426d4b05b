"""What a run changed, done to the schema that was expected before it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postdo.schema.catalogue import Catalogue, Entry
from postdo.schema.expected_change import advance


def column(table: str, name: str, kind: str = "integer", **more: str) -> Entry:
    return Entry("column", f"public.{table}", name, {"type": kind, "nullable": "no", **more})


def sequence(name: str, table: str = "", of: str = "") -> Entry:
    home = f"public.{table}" if table else ""
    return Entry("sequence", home, f"public.{name}", {"type": "bigint", "column": of})


def index(table: str, name: str, columns: str) -> Entry:
    return Entry("index", f"public.{table}", name, {"columns": columns, "unique": "no"})


def table(name: str) -> Entry:
    return Entry("table", f"public.{name}", name, {})


def catalogue(*entries: Entry) -> Catalogue:
    return Catalogue(17, entries)


def as_set(found: Catalogue) -> set[tuple[str, str, str, str]]:
    return {
        (e.kind, e.table, e.name if e.named else "", str(sorted(e.facts.items())))
        for e in found.entries
    }


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


def test_a_sequence_of_no_column_is_expected_under_its_new_name() -> None:
    before = catalogue(column("a", "x"), sequence("order_no"))
    after = catalogue(column("a", "x"), sequence("invoice_no"))
    assert as_set(advance(before, before, after)) == as_set(after)


def test_a_sequence_of_a_column_is_the_same_under_a_generated_name() -> None:
    expected = catalogue(column("a", "x"), sequence("a_x_seq", "a", "x"))
    before = catalogue(column("a", "x"), sequence("a_x_seq1", "a", "x"))
    assert as_set(advance(expected, before, catalogue(column("a", "x")))) == as_set(
        catalogue(column("a", "x"))
    )


@pytest.mark.parametrize(
    "tolerated",
    [{"position": "3"}, {"written": "serial"}, {"kind": "bigint"}],
    ids=["place", "way of writing", "type"],
)
def test_a_dropped_column_is_not_expected_any_more_whatever_was_tolerated(
    tolerated: dict[str, str],
) -> None:
    """With its index, which somebody had dropped by hand, and the sequence that it had lost."""
    rest = column("a", "rest", position="1")
    lost = column("a", "x", position="2", written="identity")
    on_it = index("a", "a_x", "x"), sequence("a_x_seq", "a", "x")
    facts: dict[str, str] = {"position": "2", "written": "identity"} | tolerated
    before = catalogue(rest, column("a", "x", **facts), sequence("a_x_seq"))
    after = catalogue(rest, sequence("a_x_seq"))
    found = advance(catalogue(rest, lost, *on_it), before, after)
    assert as_set(found) == as_set(catalogue(rest))


def test_what_is_on_a_dropped_table_goes_with_it_also_where_it_was_not_there() -> None:
    expected = catalogue(table("a"), column("a", "x"), column("a", "lost"), index("a", "i", "x"))
    before = catalogue(table("a"), column("a", "x"), table("b"))
    after = catalogue(table("b"))
    assert as_set(advance(expected, before, after)) == as_set(catalogue())


def test_a_dropped_column_moves_the_others_and_hides_no_drift_of_theirs() -> None:
    expected = catalogue(column("a", "x", position="1"), column("a", "y", position="2"))
    before = catalogue(column("a", "x", position="1"), column("a", "y", "bigint", position="2"))
    after = catalogue(column("a", "y", "bigint", position="1"))
    found = as_set(advance(expected, before, after))
    assert found == as_set(catalogue(column("a", "y", position="1")))


def test_a_version_of_an_extension_that_the_run_changed_is_expected() -> None:
    old, new = (
        catalogue(Entry("extension", "", "hstore", {"version": one, "schema": "public"}))
        for one in ("1.7", "1.8")
    )
    assert as_set(advance(old, old, new)) == as_set(new)


names = st.sampled_from(["a", "b", "c", "d"])
types = st.sampled_from(["integer", "bigint", "text"])
columns = st.dictionaries(st.tuples(names, names), types, max_size=8)
sequences = st.dictionaries(names, st.sampled_from([("", ""), ("a", "b"), ("c", "d")]), max_size=3)


def built(columns: dict[tuple[str, str], str], owners: dict[str, tuple[str, str]]) -> Catalogue:
    """As in a database: columns are numbered, and indexes and sequences are on what is there."""
    numbered = {key: str(place) for place, key in enumerate(columns, 1)}
    return catalogue(
        *(column(t, n, kind, position=numbered[t, n]) for (t, n), kind in columns.items()),
        *(index(t, f"{t}_{n}_{kind}", n) for (t, n), kind in columns.items() if kind != "text"),
        *(sequence(name, *at) for name, at in owners.items() if at in {*columns, ("", "")}),
    )


schemas = st.builds(built, columns, sequences)


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
