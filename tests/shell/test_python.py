"""What -2 needs of Python, and what it says where that is missing. (It runs for real in stack.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from .fakes import fake_python
from .machine import Clone

NO_PYTHON = "Python 3.10 or newer is not installed"


@pytest.fixture
def bare(clone: Clone) -> Clone:
    """A clone on a machine without Python."""
    clone.has_python = False
    return clone


def test_without_python_the_local_mode_says_what_to_install(bare: Clone) -> None:
    result = bare.run("-2").assert_refused(NO_PYTHON, "sudo apt install python3 python3-venv")
    assert "sh run.sh -1" in result.err
    assert {path.name for path in bare.state.iterdir()} == {"log"}
    bare.run("-2", "manage", "check").assert_refused(NO_PYTHON, "install")
    bare.run("test").assert_refused(NO_PYTHON, "install")
    bare.run("lint").assert_refused(NO_PYTHON, "install")


def test_a_python_that_is_too_old_is_no_python_with_a_fake_python(
    bare: Clone, tmp_path: Path
) -> None:
    bare.first.append(tmp_path / "old")
    for version in ("3.9.20", "2.7.18", "3.1"):
        fake_python(tmp_path / "old", "python3", version)
        bare.run("-2").assert_refused(NO_PYTHON, "install it")
    assert "  --   Python 3.10 or newer is not installed" in bare.run("doctor").out


def test_a_newer_python_beside_an_old_one_is_found_with_a_fake_python(
    bare: Clone, tmp_path: Path
) -> None:
    folder = fake_python(tmp_path / "pythons", "python3", "3.9.20")
    fake_python(folder, "python3.12", "3.12.4")
    bare.first.append(folder)
    assert f"ok   Python: {folder}/python3.12" in bare.run("doctor").assert_ok().out


def test_every_newer_python_will_do_with_a_fake_python(bare: Clone, tmp_path: Path) -> None:
    bare.first.append(tmp_path / "new")
    for version in ("3.10.0", "3.13.0rc1", "3.14.0+", "4.0.1"):
        fake_python(tmp_path / "new", "python3", version)
        assert "ok   -2 local" in bare.run("doctor").assert_ok().out


def test_a_python_without_venv_is_told_apart_with_a_fake_python(
    bare: Clone, tmp_path: Path
) -> None:
    folder = fake_python(tmp_path / "python", "python3", "3.11.2", has_venv=False)
    bare.first.append(folder)
    what = f"{folder}/python3 cannot create virtual environments"
    bare.run("-2").assert_refused(what, "python3-venv")
    assert what in bare.run("doctor").out


def test_a_python_that_breaks_while_installing_is_shown_with_a_fake_python(
    bare: Clone, tmp_path: Path
) -> None:
    bare.first.append(fake_python(tmp_path / "python", "python3", "3.11.2"))
    result = bare.run("-2").assert_refused("Create a virtual environment failed", "fix what")
    assert "  | a fake Python was to run -m venv --clear" in result.err
    assert {path.name for path in bare.state.iterdir()} == {"log"}


def test_a_project_without_requirements_is_told_what_to_write(clone: Clone) -> None:
    for path in (clone.root / "web" / "requirements").iterdir():
        path.unlink()
    result = clone.run("-2")
    result.assert_refused("neither requirements/dev.txt nor requirements.txt", "README")
