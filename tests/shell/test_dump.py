"""dump and load: a file on the host, whole or as it was."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from waiting import until

from .fakes import FakeDocker
from .machine import Clone
from .terminal import CTRL_C, Terminal

FIXTURE = '[{"model": "accounts.user", "pk": 1}]'


@pytest.fixture
def running(dash_clone: Clone, docker: FakeDocker) -> FakeDocker:
    """A development mode that runs, as a fake docker has it."""
    docker.has_container("web")
    docker.answer("compose *dumpdata*", out=FIXTURE)
    return docker


def test_dump_writes_what_dumpdata_says_with_a_fake_docker(
    dash_clone: Clone, running: FakeDocker
) -> None:
    assert "wrote data.json (38 bytes)" in dash_clone.run("dump", "data.json").assert_ok().out
    path = dash_clone.root / "data.json"
    assert path.read_text() == f"{FIXTURE}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600, "passwords are in it"
    assert running.compose_calls()[-1].startswith("exec -T web python manage.py dumpdata --natural")


def test_a_dump_that_fails_leaves_the_former_file_with_a_fake_docker(
    dash_clone: Clone, running: FakeDocker
) -> None:
    running.answer("compose *dumpdata*", out='[{"half', err="CommandError: gone", status=1)
    path = dash_clone.root / "data.json"
    path.write_text("former")
    result = dash_clone.run("dump", "data.json")
    result.assert_refused("the dump failed; its message is above", "fix")
    assert "CommandError: gone" in result.err
    assert path.read_text() == "former"
    assert list(dash_clone.root.glob("*.part")) == []


def test_a_dump_that_is_interrupted_leaves_the_former_file_with_a_fake_docker(
    dash_clone: Clone, running: FakeDocker
) -> None:

    running.answer("compose *dumpdata*", out='[{"half', hangs=True)
    path, part = dash_clone.root / "data.json", dash_clone.root / "data.json.part"
    path.write_text("former")
    with Terminal(dash_clone, "dump", "data.json") as terminal:
        until(lambda: part.exists() and part.stat().st_size, "the dump to begin")
        terminal.press(CTRL_C)
        assert terminal.end() == 130
    assert path.read_text() == "former"
    assert not part.exists()


def test_dump_and_load_take_files_of_any_name_and_place_with_a_fake_docker(
    dash_clone: Clone, running: FakeDocker, tmp_path: Path
) -> None:
    folder = tmp_path / "it's a $folder"
    folder.mkdir()
    for name in (f"{folder}/my data é.json", "my data.json"):
        dash_clone.run("dump", name, cwd=folder).assert_ok()
        dash_clone.run("load", name, cwd=folder).assert_ok()
    assert sorted(path.name for path in folder.iterdir()) == ["my data é.json", "my data.json"]


def test_a_file_that_cannot_be_written_is_said_before_anything_is_asked_with_a_fake_docker(
    dash_clone: Clone, running: FakeDocker
) -> None:
    result = dash_clone.run("dump", "/nowhere/data.json")
    result.assert_refused("cannot write to /nowhere/data.json", "a folder that you can write")
    assert running.compose_calls() == []


def test_a_load_that_fails_says_so_with_a_fake_docker(
    dash_clone: Clone, running: FakeDocker
) -> None:
    (dash_clone.root / "data.json").write_text(FIXTURE)
    running.answer("compose *loaddata*", err="IntegrityError: twice", status=1)
    result = dash_clone.run("load", "data.json")
    result.assert_refused("nothing was loaded; the reason is above", "fix")
    assert "IntegrityError: twice" in result.err
