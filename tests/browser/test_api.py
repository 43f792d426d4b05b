"""The pages of the starter's part api, in a real browser and within its Content-Security-Policy."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect
from starter_site import link_in, migrated, served

from .chromium import Desktop

EMAIL, PASSWORD = "ada@example.com", "correct horse battery"


def try_endpoint(page: Page, operation: str, body: str, status: str) -> None:
    """Open an operation of the page to try the API, send `body`, and expect that status."""
    page.locator(f"#operations-{operation}").click()
    page.get_by_role("button", name="Try it out").click()
    page.locator("textarea").fill(body)
    page.get_by_role("button", name="Execute").click()
    answer = page.locator(".live-responses-table .response .response-col_status")
    expect(answer).to_contain_text(status)


def test_who_signs_up_on_the_page_gets_an_account_by_mail_and_tries_an_endpoint(
    desktop: Desktop, database: str, tmp_path: Path
) -> None:
    with served(migrated(database), tmp_path) as address:
        tab = desktop.open()
        page = tab.page
        tab.go(f"{address}/api/docs/")
        try_endpoint(page, "sign-up-sign_up_create", f'{{"email": "{EMAIL}"}}', "202")

        tab.go(link_in(tmp_path))
        page.get_by_label("Password:", exact=True).fill(PASSWORD)
        page.get_by_label("Password confirmation:").fill(PASSWORD)
        page.get_by_role("button", name="Create the account").click()
        expect(page.get_by_role("heading", name="Your account is ready")).to_be_visible()

        tab.go(f"{address}/notifications/")
        page.get_by_label("Email address").fill(EMAIL)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_text("You have read everything.")).to_be_visible()

        tab.go(f"{address}/api/docs/")
        text = '{"text": "from the page"}'
        try_endpoint(page, "notifications-notifications_create", text, "201")

        tab.go(f"{address}/notifications/")
        expect(page.get_by_text("1 not read yet.")).to_be_visible()
        expect(page.get_by_text("from the page")).to_be_visible()
        page.get_by_role("button", name="Mark all as read").click()
        expect(page.get_by_text("You have read everything.")).to_be_visible()
        assert tab.problems == []
