"""The two modes of a clone as a person meets them: by an address, and by the admin's login."""

from __future__ import annotations

from dataclasses import dataclass

from playwright.sync_api import Page
from stack.clone import Clone

PORT_KEYS = {"dev": "DEV_PORT", "prod": "HTTP_PORT"}


@dataclass(frozen=True)
class Site:
    """A mode of a clone, which serves."""

    clone: Clone
    mode: str  # dev or prod

    def url(self, path: str = "/") -> str:
        """The address of a page. Both modes on one host name, which is where they may clash."""
        return f"http://localhost:{self.clone.environment[PORT_KEYS[self.mode]]}{path}"

    def ask(self, sql: str) -> str:
        """What its database says to a query."""
        return self.clone.query(self.mode, sql)

    def log_in(self, page: Page, email: str = "", password: str = "") -> None:
        """Fill in and send the login form that a page shows; as the superuser, unless told."""
        env = self.clone.env()
        page.get_by_label("Email address:").fill(email or env["DJANGO_SUPERUSER_EMAIL"])
        page.get_by_label("Password:").fill(password or env["DJANGO_SUPERUSER_PASSWORD"])
        page.get_by_role("button", name="Log in").click()
