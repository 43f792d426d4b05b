"""bench tasks: what counts as lost, as done twice, and as explained by a kill."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import reliability, tasks
from bench.tasks import CHILD, REDIS, WORKER, Counted, Kill, Outcome, Ticks, compare


def test_what_was_acknowledged_and_has_not_run_is_lost() -> None:
    sent = {1: (0.0, 0.1), 2: (0.1, 0.2)}
    runs = [(1, 1.0, 1.1), (3, 1.0, 1.1)]  # 3 was not acknowledged, and has run all the same

    assert compare(sent, runs, []) == Counted([2], {}, [])


@pytest.mark.parametrize(
    ("kill", "explains"),
    [
        (Kill(WORKER, 10.2, 10.3), True),  # while it ran
        (Kill(CHILD, 11.2, 11.3), True),  # it had ended, and was perhaps not acknowledged
        (Kill(WORKER, 9.0, 9.9), False),  # before
        (Kill(WORKER, 12.1, 12.2), False),  # between the two, when it had long been acknowledged
        (Kill(REDIS, 4.0, 5.5), True),  # while it was sent
        (Kill(WORKER, 4.0, 5.5), False),
    ],
)
def test_a_second_run_is_explained_by_a_kill_during_the_first(kill: Kill, explains: bool) -> None:
    found = compare({7: (5.0, 5.1)}, [(7, 10.0, 10.5), (7, 20.0, 20.5)], [kill])

    assert found == (Counted([], {kill.what: [7]}, []) if explains else Counted([], {}, [7]))
    assert found.doubled == 1


def test_each_run_but_the_last_needs_a_kill() -> None:
    runs = [(7, 10.0, 10.5), (7, 20.0, 20.5), (7, 30.0, 30.5)]
    first, second = Kill(WORKER, 10.2, 10.3), Kill(CHILD, 20.2, 20.3)

    assert compare({7: (5.0, 5.1)}, runs, [first]).unexplained == [7]
    assert compare({7: (5.0, 5.1)}, runs, [first, second]).explained == {WORKER: [7]}


def test_a_tick_is_doubled_if_another_one_was_sent_just_before() -> None:
    right = tasks.ticks_of([(15, 0), (15, 15), (12, 16), (12, 28), (15, 45)])  # one is missing
    assert right == Ticks(5, 0, 2.0)  # not for longer than its interval
    assert right.is_right
    assert not tasks.ticks_of([(15, 0), (15, 15), (15, 16)]).is_right
    assert not tasks.ticks_of([(15, 0), (15, 31)]).is_right


def test_the_section_tells_the_kills_and_what_came_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reliability, "PAGE", tmp_path / "page.md")
    kills = [Kill(WORKER, 1.0, 1.1), Kill(WORKER, 2.0, 2.1), Kill(CHILD, 3.0, 3.1)]
    outcome = Outcome(kills, 2, 5000, 100.0, Counted([], {WORKER: [4, 9]}, []), [3.0, 4.5])

    tasks.write(outcome, {"date": "today"})

    page = reliability.written()
    assert "**Of 5,000 acknowledged tasks 0 are lost, under 3 kills and 2 releases; 2 were" in page
    assert "| child | 1 | 0 |\n| worker | 2 | 2 |\n" in page
    assert "- plain restarts of Redis: 2; a task sent after it was done within 4.5 s" in page
    assert outcome.is_right
    outcome.restarts.append(31.0)
    assert not outcome.is_right
