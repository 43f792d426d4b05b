"""The lock of run.sh, one function at a time: what several runs at once meet only by chance."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .machine import PROJECT, Shell

PRELUDE = """
set -eu
fail() { echo "error: $1"; exit 1; }
make_state_folder() { :; }
sleep() { echo "slept $1"; }
. "$PROJECT/lib/lock.sh"
held="$$ $(process_start $$) 2026-11-29 12:30:00"
gone="$$ 1 2026-11-29 12:30:00" # the number is used again
other="$PPID $(process_start $PPID) 2026-11-29 12:30:00"
lock_mine=$STATE/owner.$$
echo "$held" >"$lock_mine"
"""


def run(shell: Shell, folder: Path, code: str) -> list[str]:
    done = subprocess.run(
        [shell.folders[0] / "sh", "-c", f"{PRELUDE}\n{code}"],
        env={"PATH": os.environ["PATH"], "PROJECT": str(PROJECT), "STATE": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.every_shell
@pytest.mark.parametrize(
    ("holder", "is_locked"), [("$other", True), ("$held", False), ("$gone", False), ("", False)]
)
def test_another_run_that_is_at_work_locks_and_neither_this_one_nor_one_that_is_gone(
    shell: Shell, tmp_path: Path, holder: str, is_locked: bool
) -> None:
    write = f'echo "{holder}" >"$STATE/lock-prod"\n' if holder else ""
    said = run(shell, tmp_path, f"{write}if is_locked prod; then echo yes; else echo no; fi")

    assert said == (["yes"] if is_locked else ["no"])


@pytest.mark.parametrize(
    ("lock", "guard", "left"),
    [
        ("$gone", "", []),
        ("$other", "", ["lock"]),  # a quick one has taken it meanwhile
        ("$gone", "$other", ["lock", "lock.guard"]),
        ("$gone", "$gone", ["lock"]),  # the next try finds no guard
    ],
)
def test_only_who_has_the_guard_removes_a_stale_lock_and_looks_again_first(
    shell: Shell, tmp_path: Path, lock: str, guard: str, left: list[str]
) -> None:
    write = f'echo "{guard}" >"$STATE/lock.guard"\n' if guard else ""
    said = run(
        shell,
        tmp_path,
        f'echo "{lock}" >"$STATE/lock"\n{write}remove_stale_lock "$STATE/lock" "$gone"',
    )
    assert said == (["slept 0.1"] if "lock.guard" in left else [])
    assert sorted(path.name for path in tmp_path.glob("lock*")) == left


def test_who_cannot_take_a_lock_stops_after_some_tries_and_leaves_nothing(
    shell: Shell, tmp_path: Path
) -> None:
    said = run(shell, tmp_path, "ln() { echo try; return 1; }\ntake_lock prod")

    assert said[-1].startswith("error: cannot take the lock ")
    assert 10 < said.count("try") <= 50
    assert list(tmp_path.iterdir()) == []


def test_a_second_lock_is_taken_as_the_first_one_and_both_are_released(
    shell: Shell, tmp_path: Path
) -> None:
    run(shell, tmp_path, "take_lock prod; take_lock dev; ls $STATE >$STATE/../seen; release_locks")

    assert (tmp_path.parent / "seen").read_text().split() == ["lock-dev", "lock-prod"]
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_was_released_is_not_released_again(shell: Shell, tmp_path: Path) -> None:
    taken = 'echo "$other" >"$STATE/lock-prod"'
    run(shell, tmp_path, f"take_lock prod; release_locks; {taken}; release_locks")

    assert (tmp_path / "lock-prod").exists(), "by now it is another run's"


def test_a_lock_of_a_run_that_is_at_work_is_left_to_it_and_names_it(
    shell: Shell, tmp_path: Path
) -> None:
    code = 'echo "$other (backup)" >"$STATE/lock-prod"\necho "$PPID"\ntake_lock prod'
    holder, said = run(shell, tmp_path, code)

    since = "2026-11-29 12:30:00 (backup)"
    assert said == f"error: another run.sh is running here (prod): process {holder}, since {since}"
    assert [path.name for path in tmp_path.iterdir()] == ["lock-prod"]


def test_a_lock_that_cannot_be_written_leaves_nothing(shell: Shell, tmp_path: Path) -> None:
    """On a full disk there is an empty file of the owner."""
    full = 'rm "$lock_mine"; ln -s /dev/full "$lock_mine"'
    said = run(shell, tmp_path, f'cannot_write() {{ fail "full"; }}\n{full}\ntake_lock prod')

    assert said == ["error: full"]
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_is_lent_is_held_by_the_process_that_has_it(
    shell: Shell, tmp_path: Path
) -> None:
    take = "COMMAND=stop\ntake_lock prod\nis_locked prod || echo ours"
    lend = 'lend_lock prod "$PPID"\nis_locked prod && echo "$PPID"'
    said = run(shell, tmp_path, f'{take}\n{lend}\ncommand_of "$locked_by"\nrelease_lock prod')

    ours, lent_to, command = said
    assert (ours, command) == ("ours", "stop")
    assert int(lent_to) == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_run_is_gone_is_taken_over(shell: Shell, tmp_path: Path) -> None:
    take = 'rm "$lock_mine"; unset lock_mine\necho "$gone" >"$STATE/lock-prod"\ntake_lock prod'
    said = run(shell, tmp_path, f'{take}\necho "$$"; cat "$STATE/lock-prod"')

    assert said[1].startswith(f"{said[0]} ")
    assert [path.name for path in tmp_path.iterdir()] == ["lock-prod"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_where_there_is_proc_a_process_is_known_by_its_ticks(shell: Shell, tmp_path: Path) -> None:
    """Not by the second that ps shows, in which its number may have been used twice."""
    (start,) = run(shell, tmp_path, "ps() { echo asked; }\nprocess_start $$")
    assert start.isdigit()
