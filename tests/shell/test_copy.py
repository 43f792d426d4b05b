"""The server for the copy of a big database: made when postdo asks, and removed whatever comes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .fakes import FakeDocker
from .machine import PROJECT, Clone

WANTED, REFUSED = 75, 3
LOG = """waiting
error: a copy of the server needs 900 MB, and its disk has 300 MB left
pg_basebackup: removing contents of data directory"""


@pytest.fixture
def big(dash_clone: Clone, docker: FakeDocker) -> Clone:
    """A clone whose postdo says each time that it wants a copy."""
    docker.has_container("db")
    docker.has_container("copy")
    docker.answer("*run --rm *", status=WANTED)
    return dash_clone


def steps(docker: FakeDocker) -> list[str]:
    """What was done with the copy and in containers of single commands, in order."""
    known = {" run --rm ": "run", " up ": "copy", "rm --force --volumes id-copy": "remove"}
    calls = [call for call in docker.calls() if " db web" not in call]
    found = [next((word for part, word in known.items() if part in call), "") for call in calls]
    return [word for word in found if word]


@pytest.mark.parametrize("command", ["plan", "rehearse", "-0"])
def test_a_copy_is_made_when_postdo_asks_and_removed_afterwards(
    big: Clone, docker: FakeDocker, command: str
) -> None:
    result = big.run(command)

    assert result.status != 0, "here the second run fails as well"
    done = steps(docker)
    # Of an earlier run; what -0 starts first is PostgreSQL itself.
    assert done[0] == "remove"
    assert [word for word in done[1:] if word != "copy"] == ["run", "run", "remove"]
    assert done[-3:] == ["copy", "run", "remove"]


def test_without_room_for_the_copy_it_is_refused_with_the_reason(
    big: Clone, docker: FakeDocker
) -> None:
    docker.answer("*up *copy", status=1)
    docker.answer("inspect --format {{if*id-copy", out="stopped")
    docker.answer("logs *id-copy", err=LOG)

    result = big.run("-0")

    result.assert_refused(
        "no base backup for the rehearsal: a copy of the server needs 900 MB, and its disk has 300",
        "REHEARSE=schema",
        REFUSED,
    )
    assert steps(docker).count("run") == 1
    assert steps(docker)[-1] == "remove"


def test_a_copy_that_takes_too_long_is_refused(big: Clone, docker: FakeDocker) -> None:
    docker.answer("*up *copy", status=1)

    big.run("-0").assert_refused("longer than the 1800 s", "REHEARSE=schema", REFUSED)


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

    assert "Remove the copy of the data that an earlier run has left" in result.text
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
    assert refused.stderr.startswith("error: a copy of the server needs 999999999 MB, and its disk")
    assert refused.returncode != 0
    assert not begun.exists()
    copy("1")
    assert begun.exists()
