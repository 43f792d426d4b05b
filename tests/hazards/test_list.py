"""The list of the hazards and of the tests that show them is whole."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
LIST = TESTS.parent / "docs/hazards.md"
FIRST_LIST = 64  # rows that comments all over the code refer to by number


def listed() -> dict[int, list[str]]:
    """The tests that the list names for each hazard."""
    rows = re.findall(r"^\| (\d+) \|.*\| ([^|]*) \|$", LIST.read_text(), re.MULTILINE)
    found = {int(number): re.findall(r"`(test_\w+)`", tests) for number, tests in rows}
    assert len(found) == len(rows), "a number is there twice"
    return found


def test_every_hazard_is_shown_by_a_test_that_is_there() -> None:
    files = TESTS.rglob("test_*.py")
    there = {
        name
        for file in files
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    found = listed()
    assert list(found) == list(range(1, len(found) + 1)), "the rows are numbered without a gap"
    assert len(found) >= FIRST_LIST
    assert [number for number, tests in found.items() if not tests] == []
    assert {name for tests in found.values() for name in tests} - there == set()
