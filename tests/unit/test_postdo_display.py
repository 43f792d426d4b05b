"""A rehearsal shows where it is: a bar for somebody at a terminal, few lines in a log."""

from __future__ import annotations

import io

import pytest

from postdo.base.console import Console, Stopwatch
from postdo.rehearsal.display import EVERY, SLOW_SECONDS, Display


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_bar_names_each_migration_and_goes_away() -> None:
    screen = Terminal()
    display = Display(Console(screen, screen), "rehearsing")
    display.planned(2)
    for name in ("shop.0001_initial", "shop.0002_price"):
        display.begins(name)
        display.ended()
    display.close()
    drawn = screen.getvalue().split("\r")
    assert any("1 of 2 rehearsing shop.0001_initial" in line for line in drawn)
    assert any(line.startswith("[####################] 2 of 2") for line in drawn)
    assert "\n" not in screen.getvalue(), "one line, written again and again"
    assert drawn[-2].strip() == "", "and blank at the end"


def test_in_a_log_each_tenth_migration_is_a_line() -> None:
    log = io.StringIO()
    display = Display(Console(log, log), "rebuilding")
    for number in range(2 * EVERY + 1):
        display.begins(f"shop.{number:04d}_x")
        display.ended()
    assert log.getvalue().splitlines() == [
        "postdo: rebuilding ... 10 done, up to shop.0009_x",
        "postdo: rebuilding ... 20 done, up to shop.0019_x",
    ]


def test_in_a_log_a_slow_migration_is_named_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
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
