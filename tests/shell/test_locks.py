"""One run.sh at a time for each mode: real locks, held, left behind and fought for."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import until

from .machine import PATIENCE, Clone, start_of

HOLD = 'main() { take_lock "$1"; say "holding $1"; read -r _ || true; }'
RACE = f"""main() {{ until [ -e "$ROOT/go" ]; do :; done; hold "$@"; }}
hold() {HOLD.removeprefix("main() ")}"""


@contextlib.contextmanager
def holder(clone: Clone, name: str = "prod") -> Iterator[subprocess.Popen[str]]:
    """A run.sh that holds a lock until it is told to end."""
    clone.add_command("hold", HOLD)
    with clone.start("hold", name) as run:
        assert run.stdout
        assert run.stdout.readline() == f"holding {name}\n"
        yield run
        if run.poll() is None:
            run.communicate("\n", timeout=PATIENCE)


@pytest.fixture
def lock(clone: Clone) -> Path:
    """The file of the lock that `hold prod` takes; its folder is there."""
    clone.state.mkdir(mode=0o700)
    return clone.state / "lock-prod"


def leave_behind(lock: Path, pid: int, start: str) -> None:
    """A lock as a run.sh that was killed leaves it."""
    lock.write_text(f"{pid} {start} 2026-01-02 03:04:05\n")


@pytest.mark.every_shell
def test_a_second_run_is_refused_with_who_is_at_work_and_since_when(clone: Clone) -> None:
    with holder(clone) as run:
        result = clone.run("hold", "prod")
        result.assert_refused("another run.sh is running here (prod)", f"kill {run.pid}")
        since = r"process (\d+), since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(hold\)$"
        found = re.search(since, result.err, re.MULTILINE)
        assert found, result
        assert int(found[1]) == run.pid
    assert run.returncode == 0


def test_a_lock_is_released_at_the_end_and_leaves_nothing(clone: Clone) -> None:
    with holder(clone):
        assert (clone.state / "lock-prod").exists()
    assert list(clone.state.iterdir()) == []
    with holder(clone):
        pass


def test_modes_do_not_lock_each_other_out(clone: Clone) -> None:
    with holder(clone, "prod"), holder(clone, "dev"), holder(clone, "local"):
        clone.run("hold", "dev").assert_refused("is running here (dev)", "kill")


def test_a_refused_run_leaves_the_lock_of_the_other(clone: Clone) -> None:
    with holder(clone):
        before = clone.files()
        for _ in range(2):
            clone.run("hold", "prod").assert_refused("is running here", "kill")
        assert clone.files() == before


@pytest.mark.every_shell
def test_the_lock_of_a_run_that_was_killed_is_taken_over(clone: Clone) -> None:
    with holder(clone) as killed:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert (clone.state / "lock-prod").exists()
    with holder(clone) as run:
        assert (clone.state / "lock-prod").read_text().split()[0] == str(run.pid)
    assert list(clone.state.iterdir()) == []


def test_a_killed_run_whose_parent_has_not_noticed_holds_no_lock(clone: Clone) -> None:
    # A zombie: in a container without an init, nobody ever collects it.
    with holder(clone) as killed:
        killed.send_signal(signal.SIGKILL)
        stat = Path(f"/proc/{killed.pid}/stat")
        until(lambda: ") Z " in stat.read_text(), "the killed run to become a zombie")
        with holder(clone):
            pass


def test_a_lock_whose_number_now_belongs_to_another_process_is_taken_over(
    clone: Clone, lock: Path
) -> None:
    leave_behind(lock, os.getpid(), "1")
    with holder(clone) as run:
        assert lock.read_text().startswith(f"{run.pid} ")


@pytest.mark.every_shell
def test_a_lock_that_says_nothing_sensible_is_taken_over(clone: Clone, lock: Path) -> None:
    for content in ("", "\n", "what is this\n", "12", "-1 1 x\n", "$(id) ;\n"):
        lock.write_text(content)
        with holder(clone):
            pass


def test_a_run_of_another_user_holds_its_lock(nobodys_clone: Clone) -> None:
    # Root's run in a clone of somebody who may use Docker: the service at boot, for one.
    clone = nobodys_clone
    clone.state.mkdir(mode=0o755)
    leave_behind(clone.state / "lock-prod", 1, start_of(1))
    if clone.user is not None:
        os.chown(clone.state, clone.user, clone.user)
    clone.add_command("hold", HOLD)
    clone.run("hold", "prod").assert_refused("process 1, since 2026-01-02 03:04:05", "kill 1")


@pytest.mark.every_shell
def test_a_lock_that_cannot_be_read_is_an_error_and_no_endless_wait(nobodys_clone: Clone) -> None:
    clone = nobodys_clone
    clone.add_command("hold", HOLD)
    clone.run("hold", "prod").assert_ok()
    leave_behind(clone.state / "lock-prod", 1, start_of(1))
    (clone.state / "lock-prod").chmod(0)
    clone.run("hold", "prod").assert_refused("cannot take the lock", "ls -l")


@pytest.mark.every_shell
@pytest.mark.parametrize("stale", [False, True], ids=["free", "stale"])
def test_of_many_at_once_exactly_one_wins(clone: Clone, lock: Path, stale: bool) -> None:
    clone.add_command("race", RACE)
    go = clone.root / "go"
    for _ in range(3):
        if stale:
            leave_behind(lock, 999_999_999, "1")
        with contextlib.ExitStack() as stack:
            runs = [stack.enter_context(clone.start("race", "prod")) for _ in range(6)]
            go.touch()
            first_lines = [run.stdout.readline() for run in runs if run.stdout]
            for run in runs:
                run.communicate("\n", timeout=PATIENCE)
        assert sorted(line.split()[0] for line in first_lines) == ["error:"] * 5 + ["holding"]
        assert sorted(run.returncode for run in runs) == [0] + [1] * 5
        assert list(clone.state.iterdir()) == []
        go.unlink()


def test_commands_take_the_lock_of_their_mode(clone: Clone) -> None:
    clone.has_started()
    with holder(clone, "local") as run:
        for arguments in (("-2",), ("-2", "manage", "check")):
            clone.run(*arguments).assert_refused("is running here (local)", f"kill {run.pid}")
