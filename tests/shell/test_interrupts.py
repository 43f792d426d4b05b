"""Ctrl-C and signals: what was half-done is taken back, and nothing goes on behind one's back."""

from __future__ import annotations

import os
import signal

import pytest
from waiting import until

from .machine import PATIENCE, Clone
from .terminal import CTRL_C, Terminal

pytestmark = pytest.mark.every_shell

LONG = """main() {
    make_state_folder "$STATE"
    take_lock prod
    open_log long
    undo_with undo_release
    undo_with take_back_more
    step "Work" work
    touch "$ROOT/next-step"
}
work() { echo begun; sh -c ': >"$1/begun"; exec sleep 600' sh "$ROOT"; }
undo_release() { echo back; echo first >>"$ROOT/undone"; }
take_back_more() { echo second >>"$ROOT/undone"; }"""


@pytest.fixture
def long_run(clone: Clone) -> Clone:
    """A clone with a command `long`, whose step never ends."""
    clone.add_command("long", LONG)
    return clone


def assert_taken_back(clone: Clone) -> None:
    """The run has undone its steps, newest first, released its lock and kept its log."""
    assert (clone.root / "undone").read_text() == "second\nfirst\n"
    assert [path.name for path in clone.state.iterdir()] == ["log"]
    assert not (clone.root / "next-step").exists()
    (log,) = (clone.state / "log").iterdir()
    assert "begun\n" in log.read_text()
    assert "back\n" in log.read_text()


def test_ctrl_c_takes_back_what_was_half_done_and_leaves_nothing_running(long_run: Clone) -> None:
    with Terminal(long_run, "long") as terminal:
        terminal.expect("Work ... ")
        until((long_run.root / "begun").exists, "the step to begin")
        terminal.press(CTRL_C)
        assert terminal.end() == 130
        assert "interrupted (SIGINT), undoing what was half-done" in terminal.screen
        assert "error:" not in terminal.screen
        until(lambda: not terminal.processes(), "all processes of the run to be gone")
    assert_taken_back(long_run)


def test_a_second_ctrl_c_does_not_interrupt_the_taking_back(long_run: Clone) -> None:
    slow = 'take_back_more() { touch "$ROOT/at-it"; sleep 0.3; echo second >>"$ROOT/undone"; }'
    long_run.add_command("long", f"{LONG}\n{slow}")
    with Terminal(long_run, "long") as terminal:
        until((long_run.root / "begun").exists, "the step to begin")
        terminal.press(CTRL_C)
        until((long_run.root / "at-it").exists, "the taking back to begin")
        terminal.press(CTRL_C)
        assert terminal.end() == 130
    assert_taken_back(long_run)


def test_steps_that_end_at_once_never_wait_for_what_shows_that_they_live(clone: Clone) -> None:
    steps = "for number in 0 1 2 3 4 5 6 7 8 9; do step short true; done\n    "
    clone.add_command("long", f"main() {{\n    {steps * 10}\n}}")
    with Terminal(clone, "long") as terminal:
        assert terminal.end() == 0
        assert terminal.screen.count("short ... done") == 100


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_to_the_whole_group_does_the_same(
    long_run: Clone, number: signal.Signals, status: int
) -> None:
    with long_run.start("long") as run:
        until((long_run.root / "begun").exists, "the step to begin")
        os.killpg(run.pid, number)
        text, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == status
    assert f"interrupted ({number.name})" in text
    assert_taken_back(long_run)


def test_kill_as_the_lock_advises_ends_a_run_after_its_step(long_run: Clone) -> None:
    long_run.add_command("long", LONG.replace("sleep 600", 'cat "$1/pipe"'))
    os.mkfifo(long_run.root / "pipe")
    with long_run.start("long") as run:
        until((long_run.root / "begun").exists, "the step to begin")
        run.send_signal(signal.SIGTERM)
        (long_run.root / "pipe").write_text("go on\n")
        run.communicate(timeout=PATIENCE)
    assert run.returncode == 143
    assert_taken_back(long_run)


def test_a_run_that_ends_well_takes_nothing_back(long_run: Clone) -> None:
    done = LONG.replace("sleep 600", "true").replace("    touch", "    UNDO=\n    touch")
    long_run.add_command("long", done)
    long_run.run("long").assert_ok()
    assert (long_run.root / "next-step").exists()
    assert not (long_run.root / "undone").exists()


def test_a_run_that_fails_takes_back_as_well(long_run: Clone) -> None:
    long_run.add_command("long", LONG.replace("sleep 600", "false"))
    long_run.run("long").assert_refused("Work failed", "fix what the lines above say")
    assert_taken_back(long_run)


def test_what_cannot_be_taken_back_is_said_and_the_rest_is_taken_back(long_run: Clone) -> None:
    stuck = "take_back_more() { echo second >>$ROOT/undone; echo back; return 1; }"
    long_run.add_command("long", f"{LONG.replace('sleep 600', 'false')}\n{stuck}")
    result = long_run.run("long")
    assert result.status == 1
    assert "warning: could not undo everything (step take_back_more failed)" in result.err
    assert_taken_back(long_run)


def test_a_terminal_shows_that_a_long_step_lives_until_the_run_is_killed(long_run: Clone) -> None:
    with Terminal(long_run, "long") as terminal:
        terminal.expect("\rWork ... ")  # and how many seconds
        os.kill(terminal.run_sh(), signal.SIGKILL)
        assert terminal.end() == 128 + signal.SIGKILL
        # The step itself, a command of its own, goes on; what counted its seconds does not.
        until(lambda: len(terminal.processes()) == 1, "the counting of seconds to end")
