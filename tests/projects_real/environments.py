"""The virtual environments of these projects, kept while their requirements are the same."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import environments
import pytest

REQUIREMENTS = Path(__file__).parent / "requirements"
# What the files are compiled for. On a newer one the old releases do not run any more.
VERSION = "3.11"


def environment(name: str) -> Path:
    """The Python of the environment ``name``, which ``requirements/NAME.txt`` describes."""
    file = REQUIREMENTS / f"{name}.txt"
    return environments.environment(file, _python(), compiled=False)


def _python() -> str:
    if ".".join(map(str, sys.version_info[:2])) == VERSION:
        return sys.executable
    found = shutil.which(f"python{VERSION}")
    if found is None:
        pytest.skip(f"no Python {VERSION} on this machine, and the old releases run on no newer")
    return found
