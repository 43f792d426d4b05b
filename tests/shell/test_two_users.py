"""A clone that root (sudo) and its user use by turns: each can go on where the other has ended."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from .fakes import FakeDocker
from .machine import IS_ROOT, NOBODY, Clone

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="only root can be two users")

COMMANDS = [
    *(("init",), ("status",), ("doctor",), ("-0",), ("-0", "--no-build"), ("-0", "stop"), ("-1",)),
    *(("-1", "stop"), ("-1", "psql", "-c", "SELECT 1"), ("-1", "manage", "check"), ("plan",)),
    *(
        ("drift",),
        ("-1", "logs"),
        ("-1", "reset", "--yes"),
        ("-2", "stop"),
        ("-1", "dump", "x.json"),
    ),
]


@pytest.fixture
def docker(nobodys_clone: Clone) -> FakeDocker:
    """A fake docker that both users may use."""
    fake = FakeDocker(nobodys_clone.root.parent / "docker")
    for path in (fake.folder, fake.folder / "calls"):
        path.chmod(0o777)
    nobodys_clone.first.append(fake.folder)
    return fake


def of_root(clone: Clone) -> list[Path]:
    """What stands in the clone and is root's."""
    return [path for path in clone.root.rglob("*") if path.lstat().st_uid == 0]


def test_whoever_runs_a_command_first_the_other_one_can_run_it_next(
    nobodys_clone: Clone, docker: FakeDocker
) -> None:
    clone = nobodys_clone
    for user in (None, NOBODY, None):  # None: root
        clone.user = user
        for command in COMMANDS:
            result = clone.run(*command)
            assert "ermission denied" not in result.text, result
            assert "belongs to" not in result.text, result
            assert [path for path in of_root(clone) if path.name != "x.json"] == [], result
    assert stat.S_IMODE((clone.root / ".env").stat().st_mode) == 0o600
    assert (clone.root / "backups").stat().st_uid == NOBODY


def test_what_a_killed_run_of_root_has_left_is_named_with_the_way_out(
    nobodys_clone: Clone, docker: FakeDocker
) -> None:
    """It had no time to give anything back."""
    clone = nobodys_clone
    clone.run("init").assert_ok()
    clone.state.mkdir(mode=0o700)
    for part in ("", "log"):
        left = clone.state / part
        left.mkdir(mode=0o700, exist_ok=True)
        os.chown(left, 0, 0)
        remedy = f"sudo chown -R {NOBODY}:{NOBODY} {clone.state}"
        for command in (("-1", "stop"), ("-0",), ("-2",), ("plan",)):
            refused = clone.run(*command).assert_refused(f"cannot write to {clone.state}", remedy)
            assert "belongs to root" in refused.err
            assert "rm: " not in refused.err
        os.chown(left, NOBODY, NOBODY)
    clone.run("-1", "stop").assert_ok()


def test_in_a_clone_of_root_nothing_is_given_away(dash_clone: Clone) -> None:
    dash_clone.run("init").assert_ok()
    dash_clone.run("-2", "stop")
    assert len(of_root(dash_clone)) == len(list(dash_clone.root.rglob("*")))
