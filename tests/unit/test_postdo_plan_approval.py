"""What the checksum of a plan covers, and so what an approval approves."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TypeVar

import plans
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import DEFAULT, LONG, locking, losing, swapping

from postdo.base.config import Answer
from postdo.plan.decide import decide
from postdo.plan.findings import Findings
from postdo.rehearsal.file_changes import FileChange
from postdo.rehearsal.rehearse import Rehearsal
from postdo.rehearsal.trace import Loss

Thing = TypeVar("Thing")

ASKED = replace(
    losing(plans.COLUMN_LOSS, Loss("rows", "public.shop_cart", "", 31)),
    clashes=(plans.CLASH, replace(plans.CLASH, what="shop_item.price is required")),
    drift=(plans.ALARM, replace(plans.ALARM, name="price", what="shop_item.price differs")),
)
LENIENT = replace(DEFAULT, drift=Answer.ASK)
APPROVED = decide(ASKED, LENIENT)


def test_a_checksum_is_twelve_hexadecimal_digits() -> None:
    assert APPROVED.verdict == "ask"
    assert len(APPROVED.checksum) == 12
    assert set(APPROVED.checksum) <= set("0123456789abcdef")


@given(shuffle=st.randoms(use_true_random=False))
def test_the_order_of_what_was_found_does_not_change_the_checksum(shuffle: random.Random) -> None:
    def mixed(items: tuple[Thing, ...]) -> tuple[Thing, ...]:
        return tuple(shuffle.sample(items, len(items)))

    rehearsal = ASKED.rehearsal
    assert rehearsal is not None
    assert rehearsal.trace is not None
    trace = replace(rehearsal.trace, losses=mixed(rehearsal.trace.losses))
    assert ASKED.clashes is not None
    assert ASKED.drift is not None
    other = replace(
        ASKED,
        pending=mixed(ASKED.pending),
        clashes=mixed(ASKED.clashes),
        drift=mixed(ASKED.drift),
        rehearsal=replace(rehearsal, trace=trace),
    )
    assert decide(other, LENIENT).checksum == APPROVED.checksum


def timed(rehearsal: Rehearsal | None, seconds: float, count: int) -> Rehearsal:
    """The same rehearsal on another machine at another time."""
    assert rehearsal is not None
    assert rehearsal.trace is not None
    locks = tuple(replace(lock, seconds=seconds) for lock in rehearsal.trace.locks)
    trace = replace(
        rehearsal.trace,
        seconds=seconds,
        locks=locks,
        wal_bytes=count,
        peak_memory_mb=count,
        lock_count=count,
    )
    return replace(
        rehearsal, trace=trace, copy_seconds=seconds, size_bytes=count, backup=f"/b/{count}"
    )


@given(
    seconds=st.floats(min_value=0, max_value=DEFAULT.lock_seconds),
    count=st.integers(min_value=0, max_value=10**12),
    words=st.text(max_size=20),
)
def test_times_and_machines_do_not_change_the_checksum(
    seconds: float, count: int, words: str
) -> None:
    other = replace(
        ASKED,
        database=words,
        server=words,
        release=words,
        rehearsal=timed(ASKED.rehearsal, seconds, count),
        explained=(words,),
    )
    assert decide(other, LENIENT).checksum == APPROVED.checksum


@given(seconds=st.floats(min_value=0, max_value=10_000))
def test_how_long_a_swap_takes_does_not_change_the_checksum(seconds: float) -> None:
    swap = swapping()
    other = replace(swap, rehearsal=timed(swap.rehearsal, seconds, 1))

    assert decide(other, DEFAULT).checksum == decide(swap, DEFAULT).checksum


@given(first=st.integers(1, 10**9), second=st.integers(1, 10**9))
def test_a_loss_of_another_size_is_another_plan(first: int, second: int) -> None:
    one, other = (
        decide(losing(replace(plans.COLUMN_LOSS, count=count)), DEFAULT)
        for count in (first, second)
    )
    assert (one.checksum == other.checksum) is (len(str(first)) == len(str(second)))


def test_which_of_two_losses_is_the_bigger_one_does_not_change_the_checksum() -> None:
    price = replace(plans.COLUMN_LOSS, name="price", count=2000)
    one = decide(losing(plans.COLUMN_LOSS, price), DEFAULT)
    other = decide(losing(plans.COLUMN_LOSS, replace(price, count=1100)), DEFAULT)

    assert one.line != other.line
    assert one.checksum == other.checksum


def test_a_long_lock_that_is_allowed_is_still_part_of_what_is_approved() -> None:
    policies = replace(DEFAULT, downtime=Answer.ALLOW)
    checksums = {
        decide(replace(locking(lock), clashes=(plans.CLASH,)), policies).checksum
        for lock in (plans.BRIEF, LONG)
    }
    assert len(checksums) == 2


def test_files_of_the_site_are_part_of_what_is_approved_as_their_number_is_by_its_digits() -> None:
    assert ASKED.rehearsal is not None
    rehearsal = ASKED.rehearsal

    def checksum(*files: FileChange) -> str:
        return decide(replace(ASKED, rehearsal=replace(rehearsal, files=files)), LENIENT).checksum

    removed = FileChange("media", "removed", ("a.txt",))
    made, elsewhere = replace(removed, verb="made"), replace(removed, folder="up")
    ten = replace(removed, names=tuple(map(str, range(10))))
    others = [checksum(one) for one in (removed, made, elsewhere, ten)]
    assert len({APPROVED.checksum, *others}) == 5
    assert checksum(replace(removed, names=("a.txt", "b.txt"))) == checksum(removed)
    assert checksum(removed, elsewhere) == checksum(elsewhere, removed) != checksum(removed)


OTHERS: dict[str, Findings] = {
    "another file": replace(
        ASKED, pending=(replace(plans.PRICE, checksum="ff" * 32), plans.NOTE, plans.STOCK)
    ),
    "another migration": replace(ASKED, pending=(plans.PRICE, plans.NOTE)),
    "another mode": replace(ASKED, rehearsal=replace(plans.rehearsal(mode="swap"))),
    "one loss less": replace(ASKED, rehearsal=losing(plans.COLUMN_LOSS).rehearsal),
    "another column lost": replace(
        ASKED, rehearsal=losing(replace(plans.COLUMN_LOSS, name="price")).rehearsal
    ),
    "one clash less": replace(ASKED, clashes=(plans.CLASH,)),
    "other drift": replace(ASKED, drift=(plans.ALARM,)),
    "a lock that is too long": replace(
        ASKED,
        rehearsal=plans.rehearsal(
            plans.trace(
                locks=(LONG,),
                losses=(plans.COLUMN_LOSS, Loss("rows", "public.shop_cart", "", 31)),
            )
        ),
    ),
}


@pytest.mark.parametrize("change", list(OTHERS))
def test_an_approval_does_not_count_for(change: str) -> None:
    other = decide(OTHERS[change], LENIENT)

    assert other.verdict == "ask"
    assert other.checksum != APPROVED.checksum


def test_no_two_of_these_plans_share_a_checksum() -> None:
    checksums = [decide(findings, LENIENT).checksum for findings in OTHERS.values()]

    assert len(set(checksums)) == len(checksums)


def test_drift_that_is_only_shown_is_not_part_of_an_approval() -> None:
    assert ASKED.drift is not None
    other = replace(ASKED, drift=(*ASKED.drift, plans.ELSEWHERE, plans.HARMLESS))

    assert decide(other, LENIENT).checksum == APPROVED.checksum
