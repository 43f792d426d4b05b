"""Virtual environments of other projects, kept while their requirements are the same."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from projects import REPOSITORY

REQUIREMENTS = Path(__file__).parent / "requirements"
ENVIRONMENTS = REPOSITORY / ".postdo" / "real"
STAMP = "requirements.sha256"
TIMEOUT_SECONDS = 240


def environment(name: str) -> Path:
    """The Python of the environment ``name``, which ``requirements/NAME.txt`` describes.

    Made anew if the file or our own Python has changed. The pins of an old release contradict what
    it asks for (its Pillow has no wheel for this Python), so the file is the whole truth.
    """
    requirements = REQUIREMENTS / f"{name}.txt"
    folder = ENVIRONMENTS / name
    stamp = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    with (ENVIRONMENTS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is(folder / STAMP, stamp):
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, requirements)
            (folder / STAMP).write_text(stamp)
    return folder / "bin" / "python"


def _is(file: Path, stamp: str) -> bool:
    return file.exists() and file.read_text() == stamp


def _make(folder: Path, requirements: Path) -> None:
    exactly = ("--no-deps", "--require-hashes", "-r", str(requirements))
    uv = shutil.which("uv")
    if uv is not None:
        _run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
        _run(uv, "pip", "install", "--quiet", "--python", f"{folder}/bin/python", *exactly)
        return
    _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    _run(sys.executable, "-m", "pip", "--quiet", "--python", str(folder), "install", *exactly)


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
