"""A shop in production for each test: its first migration is applied, and it has rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import Project, make_shop

from embedded_postgres import Cluster

from .applying import copied, make_base, name_of


@pytest.fixture(scope="session")
def base(postgres: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of the database of such a shop. To be copied only."""
    with postgres.fresh_database("apply_base") as url:
        make_base(tmp_path_factory.mktemp("base"), url)
        yield name_of(url)


@pytest.fixture
def shop(tmp_path: Path, postgres: Cluster, base: str) -> Iterator[Project]:
    """A copy of it that is the test's own."""
    with copied(postgres, base) as url:
        yield make_shop(tmp_path, url)
