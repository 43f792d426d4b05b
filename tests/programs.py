"""Programs that a machine may not have: a test that needs one is left out there, and says so."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def needed(name: str) -> Path:
    """The path of a program; skips the test where this machine has none of that name."""
    program = shutil.which(name)
    if not program:
        pytest.skip(f"needs {name}")
    return Path(program)


@contextmanager
def small_file_system(folder: Path, options: str) -> Iterator[None]:
    """Mount one of these options (size=20m) at the folder; skips the test where that is refused."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"may not mount here: {done.stderr.strip().rpartition(': ')[2]}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)
