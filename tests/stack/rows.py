"""Rows of tests with stacks side by side: each takes the next file that no other has.

`sh run.sh test` starts each row as a pytest of its own, with the same folder in TEST_QUEUE; a file
is a folder in there as soon as a row runs it. All files that use the shared clone count as one, so
that there is one such clone. A file of tests that is added needs no place in a list.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

# What takes the longest comes first: begun at the end, it would run alone on two cores.
SHARED = "shared"  # the files that use the shared clone
FIRST = (
    SHARED,
    "test_readme.py",
    "test_schema_changes.py",
    "test_releases.py",
    "test_tasks.py",
    "test_upgrade_db.py",
    "test_nothing_lost.py",
    "test_point_in_time.py",
    "test_reworded.py",
    "test_live.py",
)


@dataclass
class Queue:
    """What is still to be run, as one of the rows sees it."""

    folder: Path
    asked: dict[str, bool] = field(default_factory=dict)  # whether what is known is ours

    def takes(self, name: str) -> bool:
        """Whether this row runs it: whoever asks first does."""
        if name not in self.asked:
            try:
                (self.folder / name).mkdir()
            except FileExistsError:
                self.asked[name] = False
            else:
                self.asked[name] = True
        return self.asked[name]


QUEUE = pytest.StashKey[Queue | None]()


def pytest_configure(config: pytest.Config) -> None:
    """Taken out of the environment: no pytest that a test runs is in a row."""
    folder = os.environ.pop("TEST_QUEUE", None)
    config.stash[QUEUE] = Queue(Path(folder)) if folder else None


@pytest.hookimpl(trylast=True)  # they are marked by then
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a row, the longest come first."""
    if config.stash[QUEUE]:
        items.sort(key=lambda item: (*FIRST, _name(item)).index(_name(item)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run this row's tests, each with the one that really comes next.

    By that one pytest decides which fixtures of files and folders end with a test. So the next file
    is taken when the last test of one begins.
    """
    queue = session.config.stash[QUEUE]
    if queue is None or session.config.option.collectonly or session.testsfailed:
        return None  # as pytest does it
    ours = (item for item in session.items if queue.takes(_name(item)))
    item = next(ours, None)
    while item is not None:
        following = next(ours, None)
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        item = following
    return True


def _name(item: pytest.Item) -> str:
    return SHARED if item.get_closest_marker("shared_clone") else item.path.name
