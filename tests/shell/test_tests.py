"""`sh run.sh test`: the stack's tests run beside the others, and what each of them says counts."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from waiting import until

from .machine import PATIENCE, Clone

TEST = """. "$ROOT/commands/test.sh"
prepare_test_venv() { :; }
run_linters() { :; }"""
FAKE_PYTEST = """#!/bin/sh
# A fake pytest: notes its call; fails or waits for its end where a file says so.
echo "$*" >>"${0%/*}/calls"
case $* in *tests/stack*) name=stack ;; *) name=others ;; esac
if [ -e "${0%/*}/$name-waits" ]; then
    trap 'touch "${0%/*}/ended"; exit 143' TERM
    touch "${0%/*}/waiting.$$"
    while :; do sleep 0.1; done
fi
echo "1 passed in $name" >>"$TEST_SUMMARY_FILE"
echo "$name says"
[ ! -e "${0%/*}/$name-fails" ]
"""


@pytest.fixture
def programs(clone: Clone) -> Path:
    """The folder of the fake pytest of a clone that has a list of quick tests."""
    folder = clone.state / "test-venv" / "bin"
    folder.mkdir(parents=True)
    clone.state.chmod(0o700)
    (folder / "python").write_text(FAKE_PYTEST)
    (folder / "python").chmod(0o755)
    (clone.root / "tests").mkdir()
    (clone.root / "tests" / "quick.txt").write_text("# The first.\ntests/a.py\ntests/b.py::c\n")
    clone.add_command("trial", TEST)
    return folder


def calls(programs: Path) -> list[str]:
    """What pytest was called with, in the order of the words."""
    return sorted((programs / "calls").read_text().splitlines())


def test_the_stack_is_tested_beside_the_others_and_both_are_told_with_a_fake_pytest(
    clone: Clone, programs: Path
) -> None:
    said = clone.run("trial").assert_ok().out

    others, *stack = calls(programs)
    assert stack == ["-m pytest tests/stack tests/browser tests/faults"] * 3
    assert others.endswith("tests/projects_real tests/hazards tests/starter tests/unit tests/shell")
    assert "stack says\n" in said
    assert said.endswith(
        "linters: clean\ntests: 1 passed in others\n"
        + "tests: 1 passed in stack\n" * 3
        + "everything passed\n"
    )


@pytest.mark.parametrize("which", ["stack", "others"])
def test_a_failure_in_either_fails_with_a_fake_pytest(
    clone: Clone, programs: Path, which: str
) -> None:
    (programs / f"{which}-fails").touch()

    result = clone.run("trial").assert_refused("not everything passed", "sh run.sh test PATH::NAME")

    assert "1 passed in stack" in result.out
    assert "1 passed in others" in result.out


def test_who_ends_the_run_ends_the_stacks_tests_too_with_a_fake_pytest(
    clone: Clone, programs: Path
) -> None:
    (programs / "stack-waits").touch()
    with clone.start("trial") as run:
        until(lambda: len(list(programs.glob("waiting.*"))) == 3, "the stack's rows to begin")
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=PATIENCE)
    assert run.returncode == 128 + signal.SIGTERM
    assert (programs / "ended").exists()


def test_the_quick_tests_are_those_of_the_list_with_a_fake_pytest(
    clone: Clone, programs: Path
) -> None:
    clone.run("trial", "quick").assert_ok()

    (call,) = calls(programs)
    assert call.endswith(" tests/a.py tests/b.py::c")


def test_arguments_go_to_pytest_as_they_are_with_a_fake_pytest(
    clone: Clone, programs: Path
) -> None:
    clone.run("trial", "tests/unit", "-k", "a or b", TEST_SUMMARY_FILE="/dev/null").assert_ok()

    assert calls(programs) == ["-m pytest tests/unit -k a or b"]
