"""bench under-fault: which faults are chosen, and what the page says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import reliability, under_fault
from bench.broken import FAULTS
from bench.under_fault import BACKUP, RELEASE, Row, chosen

POWER = "the power is cut"


def test_without_a_choice_each_fault_comes_alone_and_in_the_middle_of_each_work() -> None:
    assert len(chosen([])) == 4 * len(FAULTS)


def test_a_text_chooses_of_both_what_breaks_and_what_it_is_in_the_middle_of() -> None:
    named = [(fault.title, during) for fault, during in chosen([f"{POWER}, alone", "cut, a b"])]

    cut = "the network between site and database is cut"
    assert named == [(POWER, ""), (POWER, BACKUP), (cut, BACKUP)]


def test_a_row_is_right_if_the_site_came_back_and_no_order_is_lost() -> None:
    assert Row(POWER, "", back=9.0).is_right
    assert not Row(POWER, "").is_right
    assert not Row(POWER, "", back=9.0, lost=[7]).is_right


def test_the_page_keeps_the_rows_of_what_was_not_broken_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reliability, "PAGE", tmp_path / "page.md")
    killed = FAULTS[0].title
    under_fault.write([Row(POWER, RELEASE, back=9.0, acknowledged=1200)], {"date": "then"})
    under_fault.write([Row(killed, "", back=3.0, acknowledged=30, lost=[7])], {"date": "now"})
    under_fault.write([Row(POWER, RELEASE, back=5.2, acknowledged=1300)], {"date": "now"})

    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "**Of 2 faults the site came back from 2; of 1,330 acknowledged orders 1 are" in page
    rows = [line for line in page.splitlines() if line.startswith(("| the", "| `"))]
    assert rows == [
        f"| {killed} |  |  |  |  | 3 s |  | 30 | 1 |  |",
        f"| {POWER} | {RELEASE} |  |  |  | 5 s |  | 1,300 | 0 |  |",
    ]


def test_what_never_came_back_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reliability, "PAGE", tmp_path / "page.md")
    under_fault.write([Row(POWER, "", lasted=40.4, pages=(3, 9), told=8.0)], {"date": "now"})

    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "**Of 1 faults the site came back from 0;" in page
    assert f"| {POWER} |  | 40 s | 3 of 9 | 0 of 0 | never | 8 s | 0 | 0 |  |" in page
