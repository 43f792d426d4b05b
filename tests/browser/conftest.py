"""Fixtures of the browser tests: a Chromium, and the two modes of the shared clone as sites.

Where there is no Chromium or no Docker engine, the tests are skipped with that reason.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest
from playwright.sync_api import Browser
from stack.clone import Clone

from .chromium import Desktop, chromium, find_chromium
from .sites import Site

DESKTOP = pytest.StashKey[Desktop]()


# Not for the session: while Playwright runs, so does an event loop in this thread, and Django's ORM
# refuses to work beside one.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The Chromium of these tests."""
    path = find_chromium()
    if path is None:
        pytest.skip("needs a browser: install Debian's package chromium, or Google Chrome")
    with chromium(path) as found:
        yield found


@pytest.fixture
def desktop(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Desktop]:
    """Where a test opens its windows."""
    desktop = request.node.stash[DESKTOP] = Desktop(browser)
    yield desktop
    desktop.close()


# They want the browser first: without one, no stack is started for nothing.
@pytest.fixture
def development_site(browser: Browser, development: Clone) -> Site:
    """Development."""
    return Site(development, "dev")


@pytest.fixture
def production_site(browser: Browser, production: Clone) -> Site:
    """Production, of the files as they are: a test before may have released others."""
    production.bring_up("-0")
    return Site(production, "prod")


@pytest.fixture(params=["development", "production"])
def site(request: pytest.FixtureRequest) -> Site:
    """The same test on both."""
    found = request.getfixturevalue(f"{request.param}_site")
    assert isinstance(found, Site)
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failing test prints what each tab shows, and where a picture of it is."""
    report = yield
    if report.failed and report.when != "teardown" and DESKTOP in item.stash:
        for number, shown in enumerate(item.stash[DESKTOP].report(), 1):
            report.sections.append((f"tab {number}", shown))
    return report
