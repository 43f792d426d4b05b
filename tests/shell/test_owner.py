"""A stack belongs to a folder: every command from another one is refused, until that is adopted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .fakes import FakeDocker
from .machine import Clone

OTHER = "/srv/the other"
COMMANDS = [
    ("-0",),
    ("-0", "--no-build"),
    ("-0", "--approve", "0123456789ab"),
    ("plan",),
    ("drift",),
    ("rehearse",),
    ("sources",),
    ("-1", "reset", "--yes"),
    ("-2", "reset", "--yes"),
    ("-2", "psql"),
    ("service", "install"),
    ("service", "remove"),
    ("-0", "backup"),
    ("-0", "restore", "data.json"),
    ("-1",),
    *(
        (flag, *words)
        for flag in ("-0", "-1")
        for words in (
            ("stop",),
            ("logs",),
            ("manage", "check"),
            ("shell",),
            ("psql",),
            ("dump", "x.json"),
            ("load", "data.json"),
        )
    ),
]


def belongs_to(docker: FakeDocker, *folders: str) -> None:
    """From now on there are containers, made in these folders."""
    docker.answer("ps -a --filter *working_dir*", out="\n".join(folders))


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_command_from_another_folder_is_refused(
    dash_clone: Clone, docker: FakeDocker, arguments: tuple[str, ...]
) -> None:
    (dash_clone.root / "data.json").write_text("[]")
    belongs_to(docker, str(dash_clone.root), OTHER)

    result = dash_clone.run(*arguments)

    result.assert_refused(f"belongs to the clone in {OTHER}", "set another PROJECT_NAME in .env")
    assert "sh run.sh adopt-stack" in result.err
    assert docker.compose_calls() == []


def test_status_says_whose_it_is(dash_clone: Clone, docker: FakeDocker) -> None:
    dash_clone.has_started()
    belongs_to(docker, OTHER)

    said = dash_clone.run("status").out

    assert f"production   belongs to the clone in {OTHER}" in said


@pytest.mark.parametrize("folders", [(), ("",), ("ours",), ("", "ours")])
def test_containers_of_our_own_and_of_nobody_in_particular_go_on(
    dash_clone: Clone, docker: FakeDocker, folders: tuple[str, ...]
) -> None:
    belongs_to(docker, *(str(dash_clone.root) if one == "ours" else one for one in folders))

    dash_clone.run("-0").assert_ok()
    dash_clone.run("-0", "stop").assert_ok()
    assert "nothing to adopt" in dash_clone.run("adopt-stack").assert_ok().out


@pytest.mark.every_shell
def test_a_moved_clone_adopts_what_it_made_at_its_old_place(clone: Clone, tmp_path: Path) -> None:
    docker = FakeDocker(tmp_path / "docker")
    clone.first.append(docker.folder)
    old = tmp_path / "it's the $old; place"
    older = tmp_path / "older"
    belongs_to(docker, str(old), str(older))
    docker.has_container("proxy")

    adopted = clone.run("adopt-stack")

    assert adopted.status == 0, adopted
    assert str(old) in adopted.out
    assert "sh run.sh -0" in adopted.out
    clone.run("-0", "stop").assert_ok()
    belongs_to(docker, str(older))
    clone.run("-0", "stop").assert_ok()
    belongs_to(docker, OTHER)
    clone.run("-0", "stop").assert_refused(f"belongs to the clone in {OTHER}", "adopt-stack")
    assert clone.run("adopt-stack").status == 0
    belongs_to(docker, str(old), OTHER)
    clone.run("-0", "stop").assert_ok()


def test_a_copy_of_an_adopted_clone_has_adopted_nothing(
    dash_clone: Clone, docker: FakeDocker, tmp_path: Path
) -> None:
    belongs_to(docker, OTHER)
    dash_clone.run("adopt-stack")
    copied = Clone(
        tmp_path / "copied",
        dash_clone.shell,
        dash_clone.toolbox,
        dash_clone.environment,
        dash_clone.first,
    )
    shutil.copytree(dash_clone.root, copied.root)

    copied.run("-0").assert_refused(f"belongs to the clone in {OTHER}", "adopt-stack")


def test_what_a_clone_that_is_still_there_has_made_is_not_adopted(
    dash_clone: Clone, docker: FakeDocker, tmp_path: Path
) -> None:
    still = tmp_path / "still there"
    still.mkdir()
    (still / "run.sh").touch()
    belongs_to(docker, str(still))

    refused = dash_clone.run("adopt-stack")

    refused.assert_refused(f"{still} still holds a clone", "remove or rename")
    dash_clone.run("-0").assert_refused(f"belongs to the clone in {still}", "adopt-stack")
