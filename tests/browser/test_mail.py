"""Mail that development catches, read and followed."""

from __future__ import annotations

import secrets

from playwright.sync_api import expect

from .chromium import Desktop
from .sites import Site

OLD, NEW = "a-long-enough-passw0rd", "another-long-enough-passw0rd"


def test_a_forgotten_password_is_set_anew_by_the_link_in_the_caught_mail(
    development_site: Site, desktop: Desktop
) -> None:
    site, tab = development_site, desktop.open()
    page = tab.page
    email = f"forgetful-{secrets.token_hex(4)}@example.com"
    script = "from django.contrib.auth import get_user_model as m"
    site.clone.run("-1", "shell", "-c", f"{script}; m().objects.create_user({email!r}, {OLD!r})")

    tab.go(site.url("/accounts/login/"))
    page.get_by_role("link", name="Forgotten your password?").click()
    page.get_by_label("Email:").fill(email)
    page.get_by_role("button", name="Send the link").click()
    expect(page.get_by_role("heading", name="Look into your mail")).to_be_visible()

    tab.go(site.url())
    page.get_by_role("link", name="Read caught mail").click()
    page.locator("li", has_text=email).get_by_role("link").click()
    page.get_by_role("link", name="/accounts/reset/").click()
    page.get_by_label("New password:", exact=True).fill(NEW)
    page.get_by_label("New password confirmation:").fill(NEW)
    page.get_by_role("button", name="Set the password").click()
    page.get_by_role("link", name="Log in").click()
    site.log_in(page, email, NEW)

    expect(page).to_have_title("It runs")
    assert site.ask(f"SELECT last_login IS NULL FROM accounts_user WHERE email = '{email}'") == "f"  # noqa: S608
    assert tab.problems == []
