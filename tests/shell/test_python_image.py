"""Which Python the image is built on: PYTHON_IMAGE, else web/.python-version, else 3.13."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .fakes import FakeDocker
from .machine import PROJECT, Clone, Toolbox

# As Compose is told it, without a build.
SHOWS = 'main() { prepare_environment; export_compose_facts; echo "$POSTDO_PYTHON_IMAGE"; }'
ALLOWED = {
    ">=3.10": ("3.13", "3.10", "3.10.4"),
    ">= 3.11, < 3.14": ("3.11", "3.13.9"),
    ">=3.9,!=3.12.*": ("3.13",),
    "~=3.10": ("3.13",),
    "==3.12.*": ("3.12",),
    ">3.9.1,<=3.13": ("3.13",),
    "<3.13.5": ("3.13",),
}
EXCLUDED = {
    ">=3.14": ("3.13",),
    ">=3.10,<3.13": ("3.13", "3.14.1"),
    ">=3.9,!=3.12.*": ("3.12", "3.12.3"),
    "~=3.12.1": ("3.13",),
    "==3.12.*": ("3.13", "3.2"),
    "<4,>=3.10": ("3.9",),
}


@pytest.fixture
def shows(dash_clone: Clone, docker: FakeDocker) -> Clone:
    """A clone with a command that prints the image."""
    dash_clone.add_command("shows", SHOWS)
    dash_clone.has_started()
    return dash_clone


def test_the_file_of_the_project_chooses_the_python_of_the_image(shows: Clone) -> None:
    file = shows.root / "web" / ".python-version"
    assert shows.run("shows").out.splitlines()[-1] == "python:3.13-slim"
    for text, image in (
        ("3.12\n", "python:3.12-slim"),
        ("# of pyenv\r\n 3.11.9 \r\n3.10\r\n", "python:3.11.9-slim"),
        ("\ufeffcpython@3.14\n", "python:3.14-slim"),
    ):
        file.write_text(text, encoding="utf-8")
        assert shows.run("shows").out.splitlines()[-1] == image
    assert shows.run("shows", PYTHON_IMAGE="own/python:1").out.splitlines()[-1] == "own/python:1"


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        (
            "shop-venv",
            "asks for Python 'shop-venv', which is not a version",
            "set it to a version such as 3.12",
        ),
        (
            "3.13t",
            "asks for Python '3.13t', which is not a version",
            "set it to a version such as 3.12",
        ),
        ("3.9", "asks for Python 3.9, which is too old", "set it to 3.10 or newer"),
    ],
)
def test_a_version_that_cannot_be_is_refused_before_the_build(
    dash_clone: Clone, docker: FakeDocker, text: str, what: str, remedy: str
) -> None:
    (dash_clone.root / "web" / ".python-version").write_text(f"{text}\n")
    dash_clone.run("-0").assert_refused(f"web/.python-version {what}", remedy)
    assert not any(" build " in call for call in docker.calls())
    # What only looks or stops needs no Python.
    assert "python-version" not in dash_clone.run("-0", "stop").err


def test_a_key_that_overrules_the_file_says_so(dash_clone: Clone, docker: FakeDocker) -> None:
    (dash_clone.root / "web" / ".python-version").write_text("3.12\n")
    docker.answer("*build web", status=1)
    warning = (
        "PYTHON_IMAGE in the environment (python:3.13-slim) overrides web/.python-version (3.12)"
    )
    assert warning in dash_clone.run("-0", PYTHON_IMAGE="python:3.13-slim").err
    assert "warning" not in dash_clone.run("-0", PYTHON_IMAGE="python:3.12-slim-bookworm").err


def test_a_project_that_excludes_the_images_python_is_refused_before_the_build(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    (dash_clone.root / "web" / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nrequires-python = ">=3.10, <3.13"  # psycopg\n'
    )
    what = "web/pyproject.toml requires Python >=3.10, <3.13, but the image has 3.13"
    dash_clone.run("-0").assert_refused(what, "set web/.python-version to a version that it allows")
    assert not any(" build " in call for call in docker.calls())
    (dash_clone.root / "web" / ".python-version").write_text("3.12\n")
    docker.answer("*build web", status=1)
    assert "requires Python" not in dash_clone.run("-0").err
    said = dash_clone.run("-0", PYTHON_IMAGE="python:3.14-slim").err
    assert "set PYTHON_IMAGE in the environment to an image with a version that it allows" in said


def test_what_a_pyproject_allows_is_understood_by_every_awk(
    toolbox: Toolbox, tmp_path: Path
) -> None:
    cases = {(told, one): "" for told, versions in ALLOWED.items() for one in versions}
    cases |= {(told, one): told for told, versions in EXCLUDED.items() for one in versions}
    file = tmp_path / "pyproject.toml"
    for awk in toolbox.awks().values():
        for (told, version), printed in cases.items():
            file.write_text(f"[project]\nrequires-python = '{told}'\n")
            done = subprocess.run(
                [awk, "-v", f"version={version}", "-f", PROJECT / "lib/requires-python.awk", file],
                capture_output=True,
                text=True,
                check=True,
            )
            assert done.stdout.strip() == printed, (awk, told, version)
