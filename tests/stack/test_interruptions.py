"""Ctrl-C, SIGTERM and kill -9 at every stage of `-0`: nothing half-started, and the next works."""

from __future__ import annotations

import signal

import pytest

from .clone import Clone
from .runs import Run
from .test_recovery import add_slow_page
from .waiting import eventually

# The two between them are those of a release, at the end of this file; what any of them takes back:
# tests/shell/test_release_steps.py.
STAGES = [
    ("Build the image", signal.SIGINT),
    ("Start PostgreSQL", signal.SIGHUP),
    # HUP ends nothing from the switch on (tests/shell/test_release_watch.py).
    ("Start the proxy and PostgreSQL", signal.SIGTERM),
]


def interrupt(clone: Clone, stage: str, number: signal.Signals) -> Run:
    """Start -0, wait for a stage to begin, and send a signal to all of its process group."""
    run = clone.start("-0")
    run.said(f"{stage} ... ")
    if stage == "Start PostgreSQL":
        # In the middle of what a new volume needs: a script that hears no signal.
        eventually(lambda: "db" in clone.runs_in("prod"), "PostgreSQL's container", passes=True)
    run.send(number)
    return run


def last_step(text: str) -> str:
    """The last step that a run has begun."""
    return [line.split(" ... ")[0] for line in text.splitlines() if " ... " in line][-1]


@pytest.mark.parametrize(("stage", "number"), STAGES)
def test_a_first_start_that_is_interrupted_leaves_nothing_running(
    own: Clone, stage: str, number: signal.Signals
) -> None:
    ended = interrupt(own, stage, number).wait(120)

    assert ended.status == 128 + number, ended
    assert f"interrupted ({number.name})" in ended.err
    assert last_step(ended.out) == stage, f"it was quicker than the signal:\n{ended}"
    assert "could not undo everything" not in ended.err
    assert own.runs_in("prod") == set()
    assert not (own.root / ".postdo/lock-prod").exists()


def test_after_a_killed_run_a_second_one_waits_for_its_turn_and_the_site_comes_up(
    own: Clone,
) -> None:
    own.run("-0", "stop")
    killed = interrupt(own, "Prepare the database", signal.SIGKILL)
    killed.wait()
    assert (own.root / ".postdo/lock-prod").exists(), "its lock stays behind"

    first = own.start("-0")
    first.said("Build the image ... ")
    second = own.run("-0", ok=False)

    second.refused("another run.sh is running here (prod)", f"kill {first.process.pid}")
    done = first.wait()
    assert done.status == 0, done
    assert own.visitor("HTTP_PORT").get("/").status == 200
    assert own.runs_in("prod") == {"db", "proxy", own.live()}
    assert "web (one-off)" not in own.containers("prod"), "the killed one has left nothing"


@pytest.mark.parametrize(
    ("stage", "number"),
    [("Prepare the database", signal.SIGTERM), ("Start", signal.SIGINT)],
)
def test_an_interrupted_release_leaves_the_old_version_serving(
    own: Clone, stage: str, number: signal.Signals
) -> None:
    if not own.visitor("HTTP_PORT").is_up():
        own.run("-0")
    before, started = own.live(), own.containers("prod")[own.live()].started_at
    other = "green" if before == "web-blue" else "blue"
    with own.restored():
        add_slow_page(own)

        ended = interrupt(own, stage if stage != "Start" else f"Start {other}", number).wait(120)

    assert ended.status == 128 + number, ended
    assert own.live() == before
    assert own.runs_in("prod") == {"db", "proxy", before}
    assert own.containers("prod")[before].started_at == started
    assert own.visitor("HTTP_PORT").get("/").status == 200
    assert own.visitor("HTTP_PORT").get("/slow/").status == 404


def test_an_interrupted_start_of_development_leaves_nothing_running(own: Clone) -> None:
    run = own.start("-1")
    run.said("Start PostgreSQL ... ")
    eventually(lambda: "db" in own.runs_in("dev"), "the first of them to be there")

    ended = run.stop(signal.SIGINT)

    assert ended.status == 128 + signal.SIGINT, ended
    assert own.runs_in("dev") == set()
