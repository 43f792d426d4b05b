"""A site for each test of a hazard."""

from __future__ import annotations

from pathlib import Path

import pytest

from .site import Site, make_site


@pytest.fixture
def site(tmp_path: Path, database: str) -> Site:
    """A small shop with rows, at its first release; the journal knows it."""
    return make_site(tmp_path, database)
