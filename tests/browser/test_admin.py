"""The admin, in both modes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from .chromium import Desktop
from .sites import Site

PASSWORD = "a-long-enough-passw0rd"
INSIDE = "Site administration"  # the heading that only those see who are logged in


@pytest.fixture
def newcomer(site: Site) -> Iterator[str]:
    """The address of somebody whom the test adds; afterwards nobody knows them."""
    email = f"newcomer-{secrets.token_hex(4)}@example.com"
    yield email
    site.ask(f"DELETE FROM accounts_user WHERE email = '{email}'")  # noqa: S608 - our own text


def test_the_superuser_of_env_adds_a_user_who_cannot_enter_the_admin(
    site: Site, newcomer: str, desktop: Desktop
) -> None:
    tab = desktop.open()
    page = tab.page
    tab.go(site.url("/admin/"))
    site.log_in(page)
    expect(page.get_by_role("heading", name=INSIDE)).to_be_visible()

    page.get_by_role("link", name="Users", exact=True).click()
    page.get_by_role("link", name="Add user").click()
    # The admin's own script puts the cursor there when it is ready; before that it would take what
    # is being typed elsewhere.
    expect(page.get_by_label("Email address:")).to_be_focused()
    page.get_by_label("Email address:").fill(newcomer)
    page.get_by_label("Password:").fill(PASSWORD)
    page.get_by_label("Password confirmation:").fill(PASSWORD)
    page.get_by_role("button", name="Save", exact=True).click()

    expect(page.get_by_text("was added successfully")).to_be_visible()
    page.get_by_role("link", name="Users", exact=True).first.click()
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=newcomer))
    expect(row.locator(".field-is_staff img")).to_have_attribute("alt", "False")
    assert tab.problems == []

    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_text("Thanks for spending some quality time")).to_be_visible()
    tab.go(site.url("/admin/"))
    site.log_in(page, newcomer, PASSWORD)

    expect(page.get_by_text("for a staff account")).to_be_visible()
    tab.go(site.url("/admin/accounts/user/"))
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    assert tab.problems == []


def test_a_form_of_production_can_be_sent_after_logging_in_to_development(
    production_site: Site, development_site: Site, desktop: Desktop
) -> None:
    production = desktop.open()
    production.go(production_site.url("/admin/"))
    development = desktop.beside(production)
    development.go(development_site.url("/admin/"))

    development_site.log_in(development.page)
    expect(development.page.get_by_role("heading", name=INSIDE)).to_be_visible()
    production_site.log_in(production.page)

    expect(production.page.get_by_role("heading", name=INSIDE)).to_be_visible()
    development.page.reload()
    expect(development.page.get_by_role("heading", name=INSIDE)).to_be_visible()
    assert production.problems + development.problems == []
