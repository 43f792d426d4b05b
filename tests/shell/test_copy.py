"""The server for the copy of a big database: made when postdo asks, and removed whatever comes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from .fakes import FakeDocker
from .machine import PROJECT, Clone

REFUSED = 3
NO_ROOM = """waiting
what=no room
next=make some"""
NO_LUCK = """waiting
pg_basebackup: error: connection to server failed: FATAL:  no pg_hba.conf entry
pg_basebackup: removing contents of data directory"""


@pytest.fixture
def big(dash_clone: Clone, docker: FakeDocker) -> Clone:
    """A clone whose database is big, and whose postdo wants a copy."""
    docker.has_container("db")
    docker.has_container("copy")
    docker.answer("exec *size.sql", out="4000")
    docker.answer("*run --rm *", status=REFUSED)
    docker.answer("*run --rm * needs-copy *", result="copy=yes")
    return dash_clone


def steps(docker: FakeDocker) -> list[str]:
    """What was done with the copy and in containers of single commands, in order."""
    known = {
        " needs-copy ": "ask",
        " run --rm ": "run",
        " up ": "copy",
        "rm --force --volumes id-copy": "remove",
    }
    calls = [call for call in docker.calls() if " db web" not in call]
    found = [next((word for part, word in known.items() if part in call), "") for call in calls]
    return [word for word in found if word]


@pytest.mark.parametrize("command", ["plan", "rehearse", "-0"])
def test_a_copy_is_made_when_postdo_asks_and_removed_afterwards(
    big: Clone, docker: FakeDocker, command: str
) -> None:
    result = big.run(command)

    assert result.status != 0, "here the run fails"
    done = steps(docker)
    # Of an earlier run; what -0 starts first is PostgreSQL itself.
    assert done[0] == "remove"
    assert [word for word in done[1:] if word != "copy"] == ["ask", "run", "remove"]
    assert done[-3:] == ["copy", "run", "remove"]
    asked = "prepare" if command == "-0" else command
    assert any(call.endswith(f"-m postdo needs-copy {asked}") for call in docker.calls())


@pytest.mark.parametrize(
    ("archive", "answer", "said"),
    [
        ("stopped", {"result": "set=X\nbytes=9\noutcome=done"}, "wrote backups/X (9 bytes)"),
        (
            "stopped",
            {"status": 1, "result": "outcome=failed\nwhat=no room"},
            "warning: there is no backup from just before this release: no room",
        ),
        ("running", {}, ""),
    ],
)
def test_a_release_without_an_archive_makes_a_set_first(
    big: Clone, docker: FakeDocker, archive: str, answer: dict[str, Any], said: str
) -> None:
    """A rehearsal on a copy of the server leaves no backup itself."""
    docker.has_container("archive", archive)
    docker.answer("run * create *", **answer)

    told = big.run("-0").text

    made = [call for call in docker.calls() if " create --set " in call]
    assert said in told
    assert ["--why before-release-1 " in call for call in made] == [True] * bool(said)
    assert steps(docker)[-3:] == ["copy", "run", "remove"], "it goes on either way"


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("exec *size.sql", {"out": "3999"}),
        ("exec *size.sql", {"status": 2}),
        ("*run --rm * needs-copy *", {"result": "copy=no"}),
        # The image of an older kit, which does not know the question.
        ("*run --rm * needs-copy *", {"status": 2}),
    ],
)
def test_no_copy_is_made_where_none_is_wanted(
    big: Clone, docker: FakeDocker, words: str, answer: dict[str, Any]
) -> None:
    docker.answer(words, **answer)

    big.run("plan")

    done = steps(docker)
    assert "copy" not in done
    assert done[-1] == "run", "and nothing to remove"
    assert ("ask" in done) == ("needs-copy" in words), "a container is not started for nothing"


@pytest.mark.parametrize(
    ("command", "log", "reason"),
    [
        ("-0", NO_ROOM, ("no room", "make some, or set REHEARSE=schema")),
        ("rehearse", NO_LUCK, ("no pg_hba.conf entry", "REHEARSE=schema")),
    ],
)
def test_where_no_copy_can_be_made_it_is_refused_with_the_reason(
    big: Clone, docker: FakeDocker, command: str, log: str, reason: tuple[str, str]
) -> None:
    docker.answer("*up *copy", status=1)
    docker.has_container("copy", "stopped")
    docker.answer("logs *id-copy", err=log)

    result = big.run(command)

    what, remedy = reason
    result.assert_refused(
        f"the database server could not be copied for the rehearsal: {what}", remedy, REFUSED
    )
    assert steps(docker).count("run") == 0
    assert steps(docker)[-1] == "remove"


def test_a_copy_that_takes_too_long_is_refused(big: Clone, docker: FakeDocker) -> None:
    docker.answer("*up *copy", status=1)

    big.run("-0").assert_refused("longer than the 1800 s", "raise REHEARSE_SECONDS", REFUSED)


def test_a_release_that_needs_no_copy_makes_none(dash_clone: Clone, docker: FakeDocker) -> None:
    dash_clone.run("-0").assert_ok()

    assert not any(call.endswith(" copy") for call in docker.calls())


@pytest.mark.parametrize("command", ["-0", "plan", "drift", "stop"])
def test_what_an_earlier_run_left_is_removed_first_and_said(
    dash_clone: Clone, docker: FakeDocker, command: str
) -> None:
    docker.has_container("copy")
    words = ["-0", "stop"] if command == "stop" else [command]

    result = dash_clone.run(*words)

    assert "Remove the copy of the data that an earlier run left behind" in result.text
    removed = [at for at, call in enumerate(docker.calls()) if call.startswith("rm --force")]
    composed = [at for at, call in enumerate(docker.calls()) if call.startswith("compose --pro")]
    assert removed[0] < composed[0]


def test_the_room_is_looked_at_before_anything_is_copied(dash_clone: Clone, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "pg_basebackup").write_text(f"#!/bin/sh\ntouch {begun}\nexit 1\n")
    (programs / "pg_basebackup").chmod(0o755)
    dash_clone.first.append(programs)

    def copy(megabytes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", PROJECT / "db/copy.sh"],
            env=dash_clone.surroundings(
                PGDATA=str(tmp_path / "data"), POSTGRES_USER="site", POSTDO_COPY_MB=megabytes
            ),
            capture_output=True,
            text=True,
            check=False,
        )

    refused = copy("999999999")
    assert refused.stdout.startswith("what=a copy of the server needs 999999999 MB, but its disk")
    assert "\nnext=" in refused.stdout
    assert refused.returncode != 0
    assert not begun.exists()
    copy("1")
    assert begun.exists()
