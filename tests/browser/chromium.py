"""A real Chromium, and a tab in it that remembers what went wrong."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    Error,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

NAMES = ("google-chrome-stable", "google-chrome", "chromium", "chromium-browser")
PATIENCE_MS = 30_000  # for one element to appear; pgAdmin on a busy machine took 16 s to load
LAUNCHER = Path(__file__).with_name("launcher.py")
HERE = ("localhost", "127.0.0.1")
# Whatever a browser does on its own account, it looks up no name and asks no proxy.
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--no-proxy-server",
    f"--host-resolver-rules=MAP * ~NOTFOUND, {', '.join(f'EXCLUDE {name}' for name in HERE)}",
)


def find_chromium() -> str | None:
    """The path of a Chromium or Chrome on this machine, or None.

    One from a snap does not count: it cannot see the folder in /tmp that Playwright gives it.
    """
    found = (shutil.which(name) for name in NAMES)
    return next((path for path in found if path and not path.startswith("/snap/")), None)


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    """The browser at that path, without a window, for as long as the block lasts."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=LAUNCHER, args=FLAGS, env={**os.environ, "CHROMIUM": path}
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Tab:
    """A page, and what went wrong in it since it was opened."""

    page: Page
    # Errors on the console, failed requests, answers of 400 and above, requests to other machines.
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Listen to all that the page does."""
        self.page.on("console", lambda said: self._note(said.type == "error", said.text))
        self.page.on("pageerror", lambda error: self._note(True, f"exception: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._answered)
        self.page.on("request", self._asked)

    def go(self, url: str) -> Response | None:
        """Open an address; returns the answer."""
        return self.page.goto(url)

    def report(self, screenshot: Path) -> str:
        """What a person needs to see why something failed; the picture goes to `screenshot`."""
        lines = [self.page.url, *(f"  {problem}" for problem in self.problems)]
        try:
            self.page.screenshot(path=screenshot, full_page=True)
            lines += [f"screenshot: {screenshot}", self.page.inner_text("body")[:1500]]
        except Error as error:
            lines.append(f"no screenshot: {error}")
        return "\n".join(lines)

    def _note(self, counts: bool, problem: str) -> None:
        if counts:
            self.problems.append(problem)

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        elsewhere = parts.scheme in ("http", "https") and parts.hostname not in HERE
        self._note(elsewhere, f"asks another machine: {request.url}")

    def _answered(self, response: Response) -> None:
        self._note(response.status >= 400, f"{response.status} {response.url}")

    def _failed(self, request: Request) -> None:
        # A page that is left gives up what it was still loading.
        gave_up = request.failure == "net::ERR_ABORTED"
        self._note(not gave_up, f"{request.failure}: {request.url}")


class Desktop:
    """Windows of one browser, each with cookies of its own, until they are closed."""

    def __init__(self, browser: Browser) -> None:
        """Nothing is open yet."""
        self.browser = browser
        self.tabs: list[Tab] = []
        self._windows: list[BrowserContext] = []

    def open(
        self, *, width: int = 1280, height: int = 900, phone: bool = False, dark: bool = False
    ) -> Tab:
        """A new window with an empty tab. Sizes in CSS pixels; `phone`: with a finger, no mouse."""
        window = self.browser.new_context(
            viewport={"width": width, "height": height},
            is_mobile=phone,
            has_touch=phone,
            color_scheme="dark" if dark else "light",
        )
        window.set_default_timeout(PATIENCE_MS)
        self._windows.append(window)
        self.tabs.append(Tab(window.new_page()))
        return self.tabs[-1]

    def beside(self, tab: Tab) -> Tab:
        """Another tab of the same window: it shares the cookies."""
        self.tabs.append(Tab(tab.page.context.new_page()))
        return self.tabs[-1]

    def report(self) -> list[str]:
        """Of each tab, what it shows. The screenshots are in a new folder, and stay."""
        folder = Path(tempfile.mkdtemp(prefix="postdo-screenshots-"))
        return [tab.report(folder / f"tab-{at}.png") for at, tab in enumerate(self.tabs, 1)]

    def close(self) -> None:
        """Close all windows."""
        for window in self._windows:
            window.close()
