"""The ways of a release with every Django and driver that is at hand, on the newest PostgreSQL.

Each has an environment of its own; a Django that needs a newer Python than this has that from the
image of production, where it is.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from .djangos import NEWER, NEWER_NEEDS, at_hand, python
from .releases import Releases
from .search_servers import Server, new_database, server
from .site import Site, make_site, site_like

# From the wheel whose programs run in the image too.
MAJOR = 18
FIELD = "models.IntegerField(null=True, db_index=True)"
FirstSite = Callable[[str], Site]


@pytest.fixture(scope="module")
def newest_server() -> Iterator[Server]:
    """That PostgreSQL."""
    others = [name for name in NEWER if name not in at_hand()]
    if others:
        needed = ".".join(map(str, NEWER_NEEDS))
        warnings.warn(
            f"not tried: {', '.join(others)}; Python {needed} is needed, or its image and docker",
            stacklevel=1,
        )
    with server(MAJOR) as running:
        yield running


@pytest.fixture(scope="module")
def first_site_with(newest_server: Server, tmp_path_factory: pytest.TempPathFactory) -> FirstSite:
    """The shop at its first release, made with the Django of that name; to be copied only."""

    @functools.cache
    def first(name: str) -> Site:
        url = new_database(newest_server.url)
        command = python(name, newest_server.home)
        made = make_site(tmp_path_factory.mktemp(name), url, python=command)
        made.environment["POSTDO_PG_BIN"] = str(newest_server.programs)
        return made

    return first


@pytest.fixture(params=(at_hand()[0], at_hand()[-1]))
def anywhere(request: pytest.FixtureRequest, tmp_path: Path, first_site_with: FirstSite) -> Site:
    """Such a shop, for the oldest and the newest: what is between them is met below."""
    return site_like(first_site_with(request.param), tmp_path)


class TestReleases(Releases):
    """With every Django and driver."""


def test_each_version_goes_on_where_an_older_one_stopped(
    tmp_path: Path, first_site_with: FirstSite, newest_server: Server
) -> None:
    """What the journal knows outlives an upgrade of Django, and the way back."""
    site = site_like(first_site_with(at_hand()[0]), tmp_path)
    before = "0001_initial"
    for number, name in enumerate((*at_hand()[1:], at_hand()[0]), start=2):
        site = Site(
            replace(site.project, python=python(name, newest_server.home)),
            {**site.environment, "APP_VERSION": name},
        )
        finds_nothing(site)
        added = f"{number:04}_added"
        field = f"migrations.AddField('Item', 'added_{number}', {FIELD})"
        site.migration(added, field, after=before)
        site.ends_done()
        assert site.recorded()[-1] == added
        before = added


def finds_nothing(site: Site) -> None:
    """No drift, no edited source, nothing to migrate."""
    found = site.run("drift")
    assert found.code == 0, found.out + found.err
    again = site.run("migrate")
    assert "nothing to migrate" in again.out
    assert "warning" not in again.err, again.err
