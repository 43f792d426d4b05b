"""The progress bar, and how numbers and names are written for people."""

from __future__ import annotations

import io
from contextlib import suppress

import pytest

from postdo.base.console import Console
from postdo.base.formatting import duration, line, listed, number, several, size, table
from postdo.base.progress import Progress


class _Terminal(io.StringIO):
    """What a terminal of 80 columns shows, as it is rewritten."""

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> list[str]:
        shown = []
        for row in self.getvalue().split("\n"):
            cells: list[str] = []
            for part in row.split("\r"):
                cells[: len(part)] = part
            shown.append("".join(cells).rstrip())
        return shown


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    monkeypatch.setenv("COLUMNS", "80")
    return _Terminal()


def test_a_terminal_shows_one_line_that_is_rewritten(terminal: _Terminal) -> None:
    progress = Progress(Console(terminal, terminal))
    progress.step("rehearsing shop.0002_a_very_long_name", 3, 12)
    assert terminal.screen == [
        "[#####...............] 3 of 12 rehearsing shop.0002_a_very_long_name"
    ]

    progress.step("rehearsing shop.0003_x", 12, 12)
    assert terminal.screen == ["[####################] 12 of 12 rehearsing shop.0003_x"]


def test_the_bar_is_gone_when_the_work_is_done_also_after_an_error(terminal: _Terminal) -> None:
    console = Console(terminal, terminal)
    with suppress(ValueError), Progress(console) as progress:
        progress.step("copying", 1, 2)
        assert "copying" in terminal.screen[0]
        raise ValueError
    console.say("next")

    assert terminal.screen == ["postdo: next", ""]


def test_a_long_step_does_not_wrap(terminal: _Terminal) -> None:
    Progress(Console(terminal, terminal)).step("x" * 300, 1, 3)

    assert len(terminal.screen[0]) == 79


def test_without_a_terminal_each_step_is_one_plain_line() -> None:
    out = io.StringIO()
    with Progress(Console(out, out)) as progress:
        progress.step("copying", 0, 0)
        progress.step("rehearsing shop.0002_x", 1, 2)
        progress.step("rehearsing shop.0002_x", 1, 2)

    assert out.getvalue() == "postdo: copying\npostdo: rehearsing shop.0002_x (1 of 2)\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "under 0.1 s"),
        (0.049, "under 0.1 s"),
        (0.05, "0.1 s"),
        (1.24, "1.2 s"),
        (9.96, "10 s"),
        (119.4, "119 s"),
        (720, "12 min"),
        (11_520, "3.2 h"),
    ],
)
def test_a_duration_has_a_unit_that_a_person_would_use(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_numbers_sizes_and_lists_are_written_for_people() -> None:
    assert number(1204) == "1,204"
    assert several(1, "migration") == "1 migration"
    assert several(0, "entry", "entries") == "0 entries"
    assert size(950_000_000) == "906 MB"
    assert size(2_400_000) == "2.3 MB"
    assert size(12) == "12 bytes"
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert table("public.shop_item") == "shop_item"
    assert table("archive.item") == "archive.item"
    assert line("two\n lines\x1b[0m") == "two lines [0m"
