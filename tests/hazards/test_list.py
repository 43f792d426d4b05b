"""The list of the hazards and of the tests that show them is whole."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
HAZARDS = range(1, 65)
# What drives the code below the command line is named too, where it looks closer.
FILES = (*HERE.glob("test_*.py"), HERE.parent / "unit/apply/test_postdo_apply_faults.py")


def listed() -> dict[int, list[str]]:
    """The tests that the list names for each hazard."""
    rows = re.findall(r"^\| (\d+) \|.*\| ([^|]*) \|$", (HERE / "README.md").read_text(), re.M)
    found = {int(number): re.findall(r"`(test_\w+)`", tests) for number, tests in rows}
    assert len(found) == len(rows), "a number is there twice"
    return found


def test_every_hazard_is_shown_by_a_test_that_is_there() -> None:
    there = {
        name for file in FILES for name in re.findall(r"^def (test_\w+)", file.read_text(), re.M)
    }
    found = listed()
    assert list(found) == list(HAZARDS)
    assert [number for number, tests in found.items() if not tests] == []
    assert {name for tests in found.values() for name in tests} - there == set()
