"""The ways of a release on every PostgreSQL that is at hand; in CI that is 14 to 18.

``POSTDO_TEST_PG_17=/usr/lib/postgresql/17/bin`` takes that one. HAZARDS 28, 29 and 64 are about
versions.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from .releases import Releases
from .search_servers import (
    MAJORS,
    VARIABLE,
    Server,
    at_hand,
    new_database,
    server,
)
from .site import Site, make_site, site_like


@pytest.fixture(scope="module", params=at_hand(), ids=lambda major: f"postgresql-{major}")
def each_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each major that is at hand."""
    others = [str(major) for major in MAJORS if major not in at_hand()]
    if others:
        warnings.warn(
            f"not tried: PostgreSQL {', '.join(others)}; {VARIABLE.format(others[0])} names a "
            "folder with its programs",
            stacklevel=1,
        )
    with server(request.param) as running:
        yield running


@pytest.fixture(scope="module")
def first(each_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The shop on that server, at its first release, with rows; to be copied only."""
    made = make_site(tmp_path_factory.mktemp("first"), new_database(each_server.url))
    made.environment["POSTDO_PG_BIN"] = str(each_server.programs)
    return made


@pytest.fixture
def anywhere(tmp_path: Path, first: Site) -> Site:
    """Such a shop of the test's own."""
    return site_like(first, tmp_path)


class TestReleases(Releases):
    """On every PostgreSQL."""
