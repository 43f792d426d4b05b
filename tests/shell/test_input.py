"""What a command does with its standard input, with a docker that reads all that it is given."""

from __future__ import annotations

import subprocess

import pytest

from .fakes import FakeDocker
from .machine import Clone

LIST = "a\nb\n"
READS_ALL = """#!/bin/sh
case $* in *' exec '* | *' run '* | *' up '*) cat >>"${0%/*}/swallowed" ;; esac
"""


@pytest.fixture
def greedy(clone: Clone, tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, FakeDocker]:
    """A clone with a docker that reads its whole input, as the real one does."""
    docker = FakeDocker(tmp_path_factory.mktemp("greedy") / "docker")
    program = docker.folder / "docker"
    program.write_text(program.read_text().replace("#!/bin/sh\n", READS_ALL))
    clone.first.append(docker.folder)
    docker.answer("ps -aq *", out="id")
    docker.answer("inspect --format*", out="healthy")
    (docker.folder / "swallowed").touch()
    clone.run("init").assert_ok()
    return clone, docker


def type_in(clone: Clone, line: str, given: str = "") -> str:
    """What a line prints that a person types into this clone's shell."""
    shell = str(clone.shell.folders[0] / "sh")
    done = subprocess.run(
        [shell, "-c", line],
        cwd=clone.root,
        env=clone.surroundings(),
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout


@pytest.mark.parametrize(
    "command",
    [
        "-0 psql -c 'SELECT 1'",
        "-1 psql -Atc 'SELECT 1'",
        "-0 psql --file=/etc/postdo/x.sql",
        "-1 manage check",
        "-1 manage shell -c 'print(1)'",
        "-1 manage shell --verbosity 0 --command 'print(1)'",
        "-0 manage send_mails",
        "-0",
        "-1 stop",
        "drift",
    ],
)
def test_a_loop_keeps_its_list(greedy: tuple[Clone, FakeDocker], command: str) -> None:
    assert_the_loop_keeps_its_list(*greedy, command)


@pytest.mark.every_shell
def test_a_loop_of_every_shell_keeps_its_list(greedy: tuple[Clone, FakeDocker]) -> None:
    assert_the_loop_keeps_its_list(*greedy, "-1 manage check")


def assert_the_loop_keeps_its_list(clone: Clone, docker: FakeDocker, command: str) -> None:
    """Whether its list comes from a file or from a pipe."""
    for loop in (
        f'while read -r word; do echo "$word"; sh run.sh {command} >/dev/null 2>&1; done <list',
        f'while read -r word; do echo "$word"; sh run.sh {command} >/dev/null 2>&1; done',
    ):
        (clone.root / "list").write_text(LIST)
        assert type_in(clone, loop, LIST) == LIST
    assert (docker.folder / "swallowed").read_text() == ""
    (clone.root / "list").unlink()


@pytest.mark.parametrize(
    "line",
    [
        "printf 'a\\nb\\n' | sh run.sh -0 psql",
        "sh run.sh -0 psql",
        "sh run.sh -1 psql -c 'COPY t FROM STDIN'",
        "sh run.sh -1 psql -f -",
        "sh run.sh -1 manage shell",
        "sh run.sh -1 manage loaddata --format=json -",
        "printf 'a\\nb\\n' | sh run.sh -1 manage import_list",
        "sh run.sh -1 manage import_list <list",
        "cat | sh run.sh -1 manage import_list",
    ],
)
def test_input_that_is_meant_for_a_command_reaches_it(
    greedy: tuple[Clone, FakeDocker], line: str
) -> None:
    clone, docker = greedy
    (clone.root / "list").write_text(LIST)
    type_in(clone, line, LIST)
    assert (docker.folder / "swallowed").read_text() == LIST


@pytest.mark.every_shell
def test_input_behind_a_pipe_or_a_file_reaches_a_command_of_every_shell(
    greedy: tuple[Clone, FakeDocker],
) -> None:
    clone, docker = greedy
    (clone.root / "list").write_text(LIST)
    for line in ("cat list | sh run.sh -1 manage import_list", "sh run.sh -1 manage read <list"):
        type_in(clone, line)
    assert (docker.folder / "swallowed").read_text() == LIST * 2
