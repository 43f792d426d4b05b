"""A rehearsal says where it is, in few lines."""

from __future__ import annotations

import io

import pytest

from postdo.base.console import Console, Stopwatch
from postdo.rehearsal.display import EVERY, SLOW_SECONDS, Display


def test_each_tenth_migration_is_a_line() -> None:
    log = io.StringIO()
    display = Display(Console(log, log), "rebuilding")
    display.planned(2 * EVERY + 1)
    for number in range(2 * EVERY + 1):
        display.begins(f"shop.{number:04d}_x")
        display.ended()
    assert log.getvalue().splitlines() == [
        "postdo: rebuilding ... 10 of 21 done, up to shop.0009_x",
        "postdo: rebuilding ... 20 of 21 done, up to shop.0019_x",
    ]


def test_what_is_not_counted_before_is_not_told_as_a_part_of_nothing() -> None:
    log = io.StringIO()
    display = Display(Console(log, log), "rebuilding")
    for _ in range(EVERY):
        display.begins("shop.0001_x")
        display.ended()
    assert log.getvalue() == "postdo: rebuilding ... 10 done, up to shop.0001_x\n"


def test_a_slow_migration_is_named_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    display = Display(Console(log, log), "rehearsing")
    display.begins("shop.0001_slow")
    display.time_passes()
    assert log.getvalue() == ""
    monkeypatch.setattr(Stopwatch, "seconds", property(lambda _: SLOW_SECONDS + 1))
    display.time_passes()
    display.time_passes()
    assert log.getvalue() == "postdo: rehearsing shop.0001_slow ...\n"
    display.ended()
    assert log.getvalue().splitlines()[1].startswith("postdo: shop.0001_slow took ")
