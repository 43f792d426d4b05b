"""plan, drift, rehearse and sources, and what -0 makes of a refusal. (For real: tests/stack.)"""

from __future__ import annotations

import json
import os

import pytest
from waiting import until

from .fakes import FakeDocker
from .machine import IS_ROOT, NOBODY, Clone
from .terminal import CTRL_C, Terminal

IMAGE_USER = 10001  # Dockerfile: where root runs it, backups belong to the image's own user
REFUSAL = """outcome=refused
what=the migrations would delete column shop_item.price (7 values)
next=to approve this plan: sh run.sh -0 --approve 0123456789ab"""
LOOKING = ("plan", "drift", "rehearse", "sources")


def looks(docker: FakeDocker) -> list[str]:
    """The postdo commands that were run in containers of their own."""
    return [call for call in docker.compose_calls() if call.startswith("run ")]


def went_well(clone: Clone, *arguments: str) -> None:
    """What it does is on the standard error, so that the standard output is the answer's alone."""
    result = clone.run(*arguments)
    assert result.status == 0, result
    assert result.out == "", result


@pytest.mark.parametrize("command", LOOKING)
def test_a_database_that_does_not_run_is_started_for_the_look_and_stopped_again(
    dash_clone: Clone, docker: FakeDocker, command: str
) -> None:
    went_well(dash_clone, command)

    calls = [call.split()[0] for call in docker.compose_calls()]
    built = [] if command == "drift" else ["build"]
    assert calls == [*built, "up", "run", "stop"]
    assert not (dash_clone.state / "lock-prod").exists()


@pytest.mark.parametrize("command", LOOKING)
def test_a_database_that_runs_goes_on(dash_clone: Clone, docker: FakeDocker, command: str) -> None:
    docker.has_container("db")

    went_well(dash_clone, "-0", command)

    assert {call.split()[0] for call in docker.compose_calls()} <= {"build", "run"}


def test_the_look_is_at_the_image_that_was_built_and_keeps_no_backup(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    went_well(dash_clone, "plan")

    (look,) = looks(docker)
    assert look.endswith("--entrypoint python web -m postdo plan")
    assert " -e POSTDO_BACKUPS= " in look, "or three looks remove what a release has kept"
    assert " -T" in look, "there is no terminal here"


def test_on_a_terminal_the_report_is_for_a_terminal(dash_clone: Clone, docker: FakeDocker) -> None:
    dash_clone.has_started()
    with Terminal(dash_clone, "plan") as terminal:
        terminal.expect("[ended with 0]")

    (look,) = looks(docker)
    assert " -T" not in look


@pytest.mark.parametrize("status", [3, 4, 2])
def test_the_answer_of_postdo_and_its_exit_code_are_passed_on(
    dash_clone: Clone, docker: FakeDocker, status: int
) -> None:
    docker.has_container("db")
    docker.answer("*run --rm *-m postdo *", out='{"exit": 3}', err="postdo: why", status=status)

    for command in LOOKING:
        result = dash_clone.run(command, "--json")

        assert result.status == status
        assert json.loads(result.out) == {"exit": 3}, "nothing else is on the standard output"
        assert "postdo: why" in result.err


def test_a_page_is_written_whole_also_if_the_release_would_be_refused(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    docker.answer("*run --rm *plan --html -", out="<html></html>", status=3)

    result = dash_clone.run("plan", "--html", "plan.html")

    assert result.status == 3
    assert (dash_clone.root / "plan.html").read_text() == "<html></html>\n"
    assert "wrote plan.html" in result.out


def test_without_a_page_the_one_before_stays(dash_clone: Clone, docker: FakeDocker) -> None:
    (dash_clone.root / "plan.html").write_text("the one before")
    docker.answer("*run --rm *plan --html -", err="postdo: no database", status=2)

    result = dash_clone.run("plan", "--html", "plan.html")

    assert result.status == 2
    assert (dash_clone.root / "plan.html").read_text() == "the one before"
    assert list(dash_clone.root.glob("plan.html?*")) == []
    assert "wrote plan.html" not in result.text


def test_a_page_that_cannot_be_written_is_refused_before_anything_is_done(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    dash_clone.run("plan", "--html", "nowhere/plan.html").assert_refused(
        "cannot write to nowhere/plan.html", "a folder that you can write"
    )
    dash_clone.run("plan", "--html").assert_refused("--html needs one file", "help plan", 2)
    assert docker.calls() == []


@pytest.mark.parametrize("command", LOOKING)
@pytest.mark.parametrize("flag", ["-1", "-2"])
def test_they_are_for_production_alone(
    dash_clone: Clone, docker: FakeDocker, command: str, flag: str
) -> None:
    result = dash_clone.run(flag, command)

    result.assert_refused(f"{command} works only on production", f"sh run.sh help {command}", 2)
    assert docker.calls() == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("plan --htm x", "unknown argument '--htm'"),
        ("plan --json --html x", "unknown argument '--html'"),
        ("plan --html --json", "--html needs one file"),
        ("plan foo", "unknown argument 'foo'"),
        ("drift foo", "unknown argument 'foo'"),
        ("drift --rec shop.1", "unknown argument '--rec'"),
        ("drift --record", "--record needs a value"),
        ("drift --unrecord --json", "--unrecord needs a value"),
        ("drift --record shop.1 shop.2", "unknown argument 'shop.2'"),
        ("rehearse --fast", "unknown argument '--fast'"),
        ("sources --into x", "unknown argument '--into'"),
        ("sources --show", "--show needs a value"),
    ],
)
def test_what_a_command_does_not_know_is_refused_before_anything_is_done(
    dash_clone: Clone, docker: FakeDocker, arguments: str, says: str
) -> None:
    command = arguments.split(maxsplit=1)[0]

    dash_clone.run(*arguments.split()).assert_refused(says, f"sh run.sh help {command}", 2)

    assert docker.calls() == []


@pytest.mark.parametrize(
    "arguments",
    [
        "plan --json",
        "drift --json --record shop.1",
        "drift --unrecord=shop.1",
        "rehearse --json",
        "sources --show shop.1",
    ],
)
def test_what_a_command_knows_reaches_postdo_as_it_is(
    dash_clone: Clone, docker: FakeDocker, arguments: str
) -> None:
    went_well(dash_clone, *arguments.split())

    (look,) = looks(docker)
    command, _, options = arguments.partition(" ")
    assert f" -m postdo {command} " in look
    assert look.endswith(options)


def test_before_the_first_release_there_is_nothing_to_compare(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    docker.answer("image inspect*", status=1)

    dash_clone.run("drift").assert_refused("has not been built here yet", "sh run.sh -0")

    assert docker.compose_calls() == []


def test_ctrl_c_while_it_looks_stops_the_database_that_it_started(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    dash_clone.has_started()
    docker.answer("*run --rm *-m postdo *", hangs=True)
    with Terminal(dash_clone, "rehearse") as terminal:
        until(lambda: looks(docker), "the look to begin")
        terminal.press(CTRL_C)
        terminal.expect("[ended with 130]")

    assert docker.compose_calls()[-1] == "stop db"
    assert not (dash_clone.state / "lock-prod").exists()


# --- What -0 says of it --------------------------------------------------------------------------


def test_a_refused_release_says_why_and_what_to_type(dash_clone: Clone, docker: FakeDocker) -> None:
    details = "\n".join(f"detail=reason {number}" for number in range(40))
    docker.answer("*run --rm * web true", result=f"{REFUSAL}\n{details}", err="why", status=3)

    result = dash_clone.run("-0")

    result.assert_refused(
        "was refused: the migrations would delete column shop_item.price (7 values)",
        "sh run.sh -0 --approve 0123456789ab",
        3,
    )
    shown = result.err.splitlines()
    assert "  | reason 0" in shown, "all reasons, of however many lines"
    assert "  | reason 39" in shown
    assert "why" not in result.err, "what is said is no answer, and stands in the log"


@pytest.mark.parametrize(
    ("status", "word", "error"),
    [
        (4, "undone", "failed and was undone: the reason"),
        (5, "not-undone", "failed and was not undone: the reason"),
        (1, "misconfigured", "failed: the reason"),
    ],
)
def test_undone_and_not_undone_are_told_apart(
    dash_clone: Clone, docker: FakeDocker, status: int, word: str, error: str
) -> None:
    result = f"outcome={word}\nwhat=the reason\nnext=the remedy"
    docker.answer("*run --rm * web true", result=result, status=2 if status == 1 else status)

    dash_clone.run("-0").assert_refused(f"preparing the database {error}", "the remedy", status)


def test_words_that_look_like_an_ending_are_none(dash_clone: Clone, docker: FakeDocker) -> None:
    """What is not in the result file is not known, whatever a migration prints."""
    said = "outcome=refused\nwhat=the reason\npostdo: refused: the reason"
    docker.answer("*run --rm * web true", out=said, status=3)

    result = dash_clone.run("-0")

    result.assert_refused("ended with status 3 and left no result", "then run: sh run.sh -0")
    assert not list((dash_clone.state / "result").iterdir())


def test_the_result_of_a_run_that_was_killed_counts_for_no_other(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    (dash_clone.state / "result").mkdir(parents=True)
    (dash_clone.state / "result/facts-1").write_text("said=of another day\n")

    result = dash_clone.run("-0").assert_ok()

    assert "of another day" not in result.out
    assert not list((dash_clone.state / "result").iterdir())


def test_what_ends_without_a_verdict_shows_its_last_lines(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    docker.answer("*run --rm * web true", err="Error response from daemon: no", status=125)
    result = dash_clone.run("-0")
    result.assert_refused("preparing the database failed", "then run: sh run.sh -0")
    assert "  | Error response from daemon: no" in result.err

    docker.answer("*run --rm * web true", err="", status=137)
    dash_clone.run("-0").assert_refused("was killed", "raise WEB_MEMORY")


def test_a_release_tells_which_plan_it_carried_out(dash_clone: Clone, docker: FakeDocker) -> None:
    facts = "said=the plan\napplied=a.1\nsaid=what was migrated\nwarning=what to know"
    docker.answer("*run --rm * web true", out="postdo: applied a.1", result=facts)

    result = dash_clone.run("-0").assert_ok()

    assert "  the plan\n  what was migrated\n  warning: what to know\n" in result.out


def test_backups_belong_to_who_runs_it_and_to_nobody_else(
    nobodys_clone: Clone,
) -> None:
    docker = FakeDocker(nobodys_clone.root.parent / "docker")
    for path in (docker.folder, docker.folder / "calls"):
        path.chmod(0o777)
    nobodys_clone.first.append(docker.folder)

    nobodys_clone.run("-0").assert_ok()

    backups = (nobodys_clone.root / "backups").stat()
    user = NOBODY if IS_ROOT else os.getuid()
    assert (backups.st_uid, backups.st_mode & 0o777) == (user, 0o700)
    assert f"--user {user}:" in " ".join(looks(docker))


@pytest.mark.skipif(not IS_ROOT, reason="what root makes is root's")
@pytest.mark.parametrize("was", ["missing", "made by Docker"])
def test_for_root_backups_belong_to_the_user_of_the_image(
    dash_clone: Clone, docker: FakeDocker, was: str
) -> None:
    backups = dash_clone.root / "backups"
    if was != "missing":
        backups.mkdir(mode=0o755)

    dash_clone.run("-0").assert_ok()

    state = backups.stat()
    assert (state.st_uid, state.st_gid, state.st_mode & 0o777) == (IMAGE_USER, IMAGE_USER, 0o700)
    assert f"--user {IMAGE_USER}:{IMAGE_USER}" in " ".join(looks(docker))
