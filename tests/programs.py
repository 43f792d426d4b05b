"""Programs that a machine may not have: a test that needs one is left out there, and says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


def needed(name: str) -> Path:
    """The path of a program; skips the test where this machine has none of that name."""
    program = shutil.which(name)
    if not program:
        pytest.skip(f"needs {name}")
    return Path(program)
