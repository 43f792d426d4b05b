"""What a run of the tests costs: seconds of each folder, and which tests take the longest.

Two times of each: by the clock, and the CPU time of the test's process and of all that it has
started (without what a Docker engine does for it, and without PostgreSQL, which leaves its parent).
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SLOWEST = 15
TICKS = os.sysconf("SC_CLK_TCK")  # of the times in /proc/PID/stat, in one second


@dataclass(frozen=True)
class Cost:
    """What one test took with its fixtures, in seconds."""

    test: str
    clock: float
    cpu: float


class Meter:
    """Reads how much CPU time was used between two readings."""

    def __init__(self) -> None:
        self._before = used()

    def read(self) -> float:
        """Seconds of CPU since the last reading."""
        now = used()
        since, self._before = now - self._before, now
        return max(0.0, since)


def used() -> float:
    """CPU seconds of this process, of its children that have ended, and of those that live."""
    return sum(os.times()[:4]) + sum(_used_by(child) for child in _children(os.getpid()))


def _used_by(pid: int) -> float:
    """The same of a process that lives, by proc(5): fields 14 to 17 of its stat."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    own = sum(map(int, fields[11:15])) / TICKS
    return own + sum(_used_by(child) for child in _children(pid))


def _children(pid: int) -> list[int]:
    """The processes that it has started and that live. None where the kernel does not tell."""
    try:
        return [
            int(child)
            for listed in Path(f"/proc/{pid}/task").glob("*/children")
            for child in listed.read_text().split()
        ]
    except OSError:
        return []


def costs(reports: Iterable[object]) -> list[Cost]:
    """The cost of each test, from the reports of its set-up, call and tear-down."""
    clock: defaultdict[str, float] = defaultdict(float)
    cpu: defaultdict[str, float] = defaultdict(float)
    for report in reports:
        if isinstance(report, pytest.TestReport):
            clock[report.nodeid] += report.duration
            cpu[report.nodeid] += getattr(report, "cpu", 0.0)
    return [Cost(test, seconds, cpu[test]) for test, seconds in clock.items()]


def told(found: list[Cost]) -> Iterator[str]:
    """Lines for a person: each folder, then the slowest tests."""
    if not found:
        return
    yield "  seconds by folder: clock, CPU"
    folders: defaultdict[str, list[Cost]] = defaultdict(list)
    for one in found:
        folders[str(Path(one.test.partition("::")[0]).parent)].append(one)
    summed = [
        Cost(folder, sum(one.clock for one in there), sum(one.cpu for one in there))
        for folder, there in folders.items()
    ]
    yield from _lines(summed)
    yield f"  the {min(SLOWEST, len(found))} slowest tests: clock, CPU"
    yield from _lines(sorted(found, key=_by_clock)[:SLOWEST])


def _lines(listed: list[Cost]) -> Iterator[str]:
    for one in sorted(listed, key=_by_clock):
        yield f"  {one.clock:7.1f} {one.cpu:7.1f}  {one.test}"


def _by_clock(one: Cost) -> float:
    return -one.clock
