"""The pages of the starter's part api, in a real browser and within its Content-Security-Policy."""

from __future__ import annotations

import sys

from playwright.sync_api import expect
from starter_site import migrated, served

from .chromium import Desktop

ADMIN = {
    "DJANGO_SUPERUSER_EMAIL": "ada@example.com",
    "DJANGO_SUPERUSER_PASSWORD": "correct horse battery",
}


def test_an_endpoint_is_tried_on_the_page_and_the_answer_is_on_the_users_own(
    desktop: Desktop, database: str
) -> None:
    project = migrated(database)
    made = project.execute([sys.executable, "manage.py", "createsuperuser", "--noinput"], ADMIN)
    assert made.code == 0, made
    with served(project) as address:
        tab = desktop.open()
        tab.go(f"{address}/notifications/")
        page = tab.page
        page.get_by_label("Email address").fill(ADMIN["DJANGO_SUPERUSER_EMAIL"])
        page.get_by_label("Password").fill(ADMIN["DJANGO_SUPERUSER_PASSWORD"])
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_text("You have read everything.")).to_be_visible()

        tab.go(f"{address}/api/docs/")
        page.locator("#operations-notifications-notifications_create").click()
        page.get_by_role("button", name="Try it out").click()
        page.locator("textarea").fill('{"text": "from the page"}')
        page.get_by_role("button", name="Execute").click()
        answer = page.locator(".live-responses-table .response")
        expect(answer.locator(".response-col_status")).to_contain_text("201")

        tab.go(f"{address}/notifications/")
        expect(page.get_by_text("1 not read yet.")).to_be_visible()
        expect(page.get_by_text("from the page")).to_be_visible()
        page.get_by_role("button", name="Mark all as read").click()
        expect(page.get_by_text("You have read everything.")).to_be_visible()
        assert tab.problems == []
