"""Fixtures of the shell tests: a clone of the project under each of the shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded_postgres.temporary import place

from .fakes import FakeDocker
from .machine import (
    IS_ROOT,
    NOBODY,
    PORT_KEYS,
    Clone,
    ProjectFiles,
    Shell,
    Toolbox,
    free_ports,
)
from .production import Production

SHELLS = ("dash", "bash", "busybox")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory: a clone has 600 files, and to write them costs 0.01 s of CPU instead of 0.1 s."""
    with tempfile.TemporaryDirectory(prefix="postdo-shell-", dir=place()) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def toolbox() -> Iterator[Toolbox]:
    """What may be on a PATH. Not below pytest's folder, which no other user can enter."""
    with tempfile.TemporaryDirectory(prefix="postdo-tools-") as folder:
        yield Toolbox(Path(folder))


@pytest.fixture(scope="session")
def project_files() -> ProjectFiles:
    """The project's files, once; each test has its own copy of them."""
    return ProjectFiles()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One shell is enough, but where a shell could do it in a way of its own: `every_shell`."""
    # A test that names its shells itself has them as a parameter.
    own = any("shell" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "shell" in metafunc.fixturenames and not own:
        every = metafunc.definition.get_closest_marker("every_shell")
        metafunc.parametrize("shell", SHELLS if every else SHELLS[:1], indirect=True)


@pytest.fixture
def shell(request: pytest.FixtureRequest, toolbox: Toolbox) -> Shell:
    """dash; with the mark `every_shell`, each of the shells in turn."""
    return toolbox.shell(str(request.param))


@pytest.fixture
def clone(shell: Shell, toolbox: Toolbox, project_files: ProjectFiles, tmp_path: Path) -> Clone:
    """A fresh clone, with a name and ports of its own, without Docker; under dash, as `shell`."""
    return fresh_clone(tmp_path / "clone", shell, toolbox, project_files)


@pytest.fixture
def dash_clone(toolbox: Toolbox, project_files: ProjectFiles, tmp_path: Path) -> Clone:
    """The same under dash, whatever the mark says."""
    return fresh_clone(tmp_path / "clone", toolbox.shell("dash"), toolbox, project_files)


@pytest.fixture
def nobodys_clone(
    shell: Shell, toolbox: Toolbox, project_files: ProjectFiles, tmp_path: Path
) -> Clone:
    """A clone of a user without privileges, in which run.sh is run by that user."""
    tmp_path.chmod(0o755)  # it is closed to other users
    clone = fresh_clone(tmp_path / "clone", shell, toolbox, project_files)
    if IS_ROOT:
        for path in (clone.root, *clone.root.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        clone.user = NOBODY
    return clone


def fresh_clone(folder: Path, shell: Shell, toolbox: Toolbox, project_files: ProjectFiles) -> Clone:
    """Copy the project's files to a folder, and give it a project name and ports."""
    project_files.write_to(folder)
    ports = dict(zip(PORT_KEYS, map(str, free_ports(len(PORT_KEYS))), strict=True))
    name = f"postdo-test-{os.getpid()}-{ports['HTTP_PORT']}"
    return Clone(folder, shell, toolbox, {"PROJECT_NAME": name, **ports})


@pytest.fixture(scope="session")
def has_compose() -> None:
    """Skips the test where there is no Compose; no engine is needed."""
    if (
        not shutil.which("docker")
        or subprocess.run(
            ["docker", "compose", "version"], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("needs docker compose")


@pytest.fixture
def docker(dash_clone: Clone, tmp_path: Path) -> FakeDocker:
    """A fake docker on the PATH of `dash_clone`."""
    fake = FakeDocker(tmp_path / "fake-docker")
    dash_clone.first.append(fake.folder)
    return fake


@pytest.fixture
def production(tmp_path: Path, toolbox: Toolbox) -> Production:
    return Production(tmp_path, toolbox)
