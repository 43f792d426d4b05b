"""Retention: what is removed, and above all what never is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from postdo_backup.retention import Candidate, Rules, removable

NOW = datetime(2026, 11, 30, 12, tzinfo=timezone.utc)
RULES = Rules()


def nightly(days_ago: int, *, verified: bool = True, why: str = "schedule") -> Candidate:
    at = NOW.replace(hour=3) - timedelta(days=days_ago)
    return Candidate(f"shop-prod-{at:%Y%m%dT%H%M%SZ}", at, why, verified)


def left(sets: list[Candidate], rules: Rules = RULES) -> list[int]:
    """How many days ago those were made that are kept."""
    gone = removable(sets, rules, NOW)
    return sorted((NOW - each.made_at).days for each in sets if each.name not in gone)


def test_a_year_of_nights_becomes_a_week_a_month_and_half_a_year() -> None:
    days = left([nightly(days) for days in range(365)])
    # A Monday: the newest of each week is its Sunday. The newest of each month is its last day.
    assert days == [0, 1, 2, 3, 4, 5, 6, 8, 15, 30, 61, 91, 122, 153]


def test_unverified_sets_push_out_no_verified_one() -> None:
    verified = [nightly(days) for days in range(100, 150)]
    before = left(verified)
    failing = [nightly(days, verified=False) for days in range(100)]
    after = left([*verified, *failing])
    assert set(before) <= set(after)
    assert len(after) <= 2 * (7 + 4 + 6), "and they are thinned too"


def test_where_nothing_is_ever_verified_sets_are_thinned_all_the_same() -> None:
    assert len(left([nightly(days, verified=False) for days in range(365)])) == 14


def test_what_somebody_asked_for_stays_and_what_the_kit_made_before_a_change_goes_later() -> None:
    asked = [nightly(400, why="command"), nightly(300, why="before the import")]
    kits = [nightly(days, why="before-restore") for days in (5, 20)]
    nights = [nightly(days) for days in range(3)]
    assert left([*asked, *kits, *nights]) == [0, 1, 2, 5, 300, 400]


def test_a_set_from_before_a_restore_does_not_take_the_place_of_the_night() -> None:
    night = nightly(0)
    before = replace(night, name="later", made_at=NOW, why="before-restore", verified=False)
    assert removable([night, before], Rules(1, 0, 0), NOW) == ()


def test_of_one_day_the_newest_stays() -> None:
    first = nightly(1)
    second = replace(first, name="second", made_at=first.made_at + timedelta(hours=2))
    assert removable([nightly(0), second, first], RULES, NOW) == (first.name,)


sets = st.lists(
    st.builds(
        nightly,
        st.integers(0, 800),
        verified=st.booleans(),
        why=st.sampled_from(["schedule", "command", "before-restore", "before-upgrade"]),
    ),
    unique_by=lambda each: each.name,
    max_size=40,
)
rules = st.builds(Rules, st.integers(1, 9), st.integers(0, 5), st.integers(0, 12))


@given(sets, sets, rules)
def test_no_number_of_unverified_sets_removes_a_verified_one(
    some: list[Candidate], more: list[Candidate], limits: Rules
) -> None:
    names = {each.name for each in some}
    unverified = [replace(each, verified=False) for each in more if each.name not in names]
    alone = set(removable(some, limits, NOW))
    together = set(removable([*some, *unverified], limits, NOW))
    verified = {each.name for each in some if each.verified}
    assert together & verified <= alone


@given(sets, rules)
def test_the_newest_and_the_newest_verified_set_stay(some: list[Candidate], limits: Rules) -> None:
    ordered = sorted(some, key=lambda each: each.made_at)
    gone = removable(some, limits, NOW)
    for kind in (ordered, [each for each in ordered if each.verified]):
        assert not kind or kind[-1].name not in gone


@given(sets, rules)
def test_what_is_kept_once_is_kept_when_the_rest_is_gone(
    some: list[Candidate], limits: Rules
) -> None:
    gone = removable(some, limits, NOW)
    assert removable([each for each in some if each.name not in gone], limits, NOW) == ()
