"""Packages in other versions than the tests' own, kept while their requirements are the same.

Each folder is named like the file of requirements that describes it.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from projects import REPOSITORY

ENVIRONMENTS = REPOSITORY / ".postdo" / "environments"
STAMP = "requirements.sha256"
TIMEOUT_SECONDS = 600
PIP = (sys.executable, "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check")
# The pins of an old release may contradict what it asks for (its Pillow has no wheel for this
# Python), so the file is the whole truth. Wheels only: building anything else would fetch tools
# that no file pins.
EXACTLY = ("--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement")


def environment(requirements: Path, python: str = sys.executable, *, compiled: bool = True) -> Path:
    """The Python of a virtual environment with these packages, made by another Python.

    What is big and hardly imported need not be compiled.
    """

    def make(folder: Path) -> None:
        run(python, "-m", "venv", "--without-pip", str(folder))
        how = () if compiled else ("--no-compile",)
        run(*PIP, "--python", str(folder), "install", *how, *EXACTLY, str(requirements))

    return kept(requirements, python, make) / "bin" / "python"


def packages(requirements: Path, version: str, finish: Callable[[Path], None]) -> Path:
    """A folder with these packages for Python ``version`` ("3.13"), which need not be here.

    ``finish`` does the rest that is done once.
    """

    def make(folder: Path) -> None:
        # What a package requires of Python would be asked of our own.
        other = ("--python-version", version, "--ignore-requires-python")
        to = ("--target", str(folder), "--no-compile")
        run(*PIP, "install", *other, *to, *EXACTLY, str(requirements))
        finish(folder)

    return kept(requirements, version, make)


def kept(requirements: Path, python: str, make: Callable[[Path], None]) -> Path:
    """The folder that ``make`` fills, anew if the requirements or the Python have changed."""
    folder = ENVIRONMENTS / requirements.stem
    stamp = hashlib.sha256(requirements.read_bytes() + f"{python} {sys.version}".encode())
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is(folder / STAMP, stamp.hexdigest()):
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            (folder / STAMP).write_text(stamp.hexdigest())
    return folder


def _is(file: Path, stamp: str) -> bool:
    return file.exists() and file.read_text() == stamp


def run(*command: str, folder: Path | None = None) -> None:
    """Run a command, in this folder, that has to succeed."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
