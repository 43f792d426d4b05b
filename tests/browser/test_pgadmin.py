"""pgAdmin: from the home page to the rows of a table, and never a question."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect
from stack.engine import Container

from .chromium import Desktop
from .sites import Site

HEIGHT = 1800  # CSS pixels: room for the whole tree; what is out of sight is not in the page


def entry(page: Page, depth: int, name: str) -> Locator:
    """An entry of the tree; the group of the servers has depth 1."""
    exact = page.locator(".file-name", has_text=re.compile(f"^{re.escape(name)}$"))
    return page.locator(f".file-tree .file-entry.depth-{depth}").filter(has=exact)


def test_pgadmin_opens_connects_and_shows_the_users_without_asking_for_a_password(
    development_site: Site, pgadmin: Container, desktop: Desktop
) -> None:
    site = development_site
    database = site.clone.env()["POSTGRES_DB"]
    tab = desktop.open(height=HEIGHT)
    page = tab.page
    tab.go(site.url())
    page.get_by_role("link", name="Open pgAdmin").click()

    # Only where there is a choice: pgAdmin opens an only child (the server, the schema) by itself.
    for depth, name in ((1, "Servers"), (3, "Databases"), (4, database), (5, "Schemas")):
        entry(page, depth, name).locator(".directory-toggle").click()
    entry(page, 7, "Tables").locator(".directory-toggle").click()

    expect(entry(page, 2, f"{site.clone.name} (development)")).to_be_visible()
    expect(entry(page, 6, "public")).to_be_visible()
    entry(page, 8, "accounts_user").locator(".file-name").click(button="right")
    page.get_by_role("menuitem", name="View/Edit Data").click()
    page.get_by_role("menuitem", name="All Rows").click()
    users = site.ask("SELECT count(*) FROM accounts_user")
    rows = page.frame_locator("iframe").get_by_text(f"Showing rows: 1 to {users}")
    expect(rows).to_be_visible()
    assert page.locator("input[type=password]:visible").count() == 0
    assert tab.problems == []
