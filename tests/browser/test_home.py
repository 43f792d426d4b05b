"""The home page: what runs here, for whom, and on which screens."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect
from stack.waiting import eventually

from .chromium import Desktop
from .sites import Site

PHONE_WIDTH = 390  # CSS pixels: the most common width of a phone, and among the narrow ones
CONTRAST = 4.5  # the least between text and its ground: WCAG 2.2, 1.4.3, level AA

# The names of the elements that end to the right of the window.
TOO_WIDE = """() => [...document.querySelectorAll('body *')]
    .filter((one) => one.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
    .map((one) => one.tagName + '.' + one.className)"""

# For each text on the page: [the text, its contrast with the color behind it]. WCAG 2.2's formula.
CONTRASTS = """() => {
    const color = (text) => text.match(/[\\d.]+/g).map(Number)
    const luminance = (rgb) => rgb.slice(0, 3)
        .map((value) => value / 255)
        .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
        .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0)
    const ground = (element) => {
        for (let one = element; one; one = one.parentElement) {
            const found = color(getComputedStyle(one).backgroundColor)
            if (found.length === 3 || found[3] === 1) return found
        }
        return [255, 255, 255]
    }
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    const found = []
    while (walker.nextNode()) {
        const text = walker.currentNode.textContent.trim()
        if (!text) continue
        const element = walker.currentNode.parentElement
        const both = [color(getComputedStyle(element).color), ground(element)].map(luminance)
        found.push([text, (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05)])
    }
    return found
}"""
BRIGHTNESS = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"


def facts(page: Page) -> dict[str, str]:
    """The table of the home page."""
    names, texts = (page.locator(f".facts {tag}").all_inner_texts() for tag in ("dt", "dd"))
    return dict(zip(names, texts, strict=True))


def test_development_says_what_runs(development_site: Site, desktop: Desktop) -> None:
    site, tab = development_site, desktop.open()

    tab.go(site.url())

    expect(tab.page).to_have_title("It runs")
    expect(tab.page.get_by_text("Development", exact=True)).to_be_visible()
    shown = facts(tab.page)
    applied = site.ask("SELECT count(*) FROM django_migrations")
    version = site.clone.containers("dev")["web"].environment["APP_VERSION"]
    assert shown["Database"] == f"PostgreSQL {site.ask('SHOW server_version').split()[0]} answers"
    assert shown["Migrations"] == f"{applied} applied, none pending"
    assert version in shown["Version"]
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?", shown["Django"])
    assert re.fullmatch(r"3\.\d+\.\d+", shown["Python"])
    tab.page.get_by_role("link", name="Open the admin").click()
    expect(tab.page.get_by_role("button", name="Log in")).to_be_visible()
    assert tab.problems == []


def test_production_tells_what_runs_to_staff_alone(production_site: Site, desktop: Desktop) -> None:
    tab = desktop.open()

    first = tab.go(production_site.url())

    assert first is not None
    expect(tab.page.get_by_text("This site is up.")).to_be_visible()
    told = tab.page.content() + str(first.all_headers())

    tab.page.get_by_role("link", name="Staff log in").click()
    production_site.log_in(tab.page)

    expect(tab.page).to_have_url(production_site.url())
    expect(tab.page.get_by_text("Production", exact=True)).to_be_visible()
    shown = facts(tab.page)
    assert set(shown) == {"Database", "Migrations", "Version", "Django", "Python"}
    numbers = [word for text in shown.values() for word in re.findall(r"\d[\w.-]{3,}", text)]
    secrets = [*numbers, shown["Version"]]
    assert len(secrets) >= 4, shown
    assert [secret for secret in secrets if secret in told] == [], told
    assert "PostgreSQL" not in told
    assert "Django" not in told
    assert tab.page.get_by_role("link", name="Open the admin").is_visible()
    assert not tab.page.get_by_text("pgAdmin").is_visible()
    assert tab.problems == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_home_page_can_be_read_on_a_phone_by_day_and_by_night(
    site: Site, dark: bool, desktop: Desktop
) -> None:
    tab = desktop.open(width=PHONE_WIDTH, height=844, phone=True, dark=dark)

    tab.go(site.url())

    expect(tab.page.get_by_role("heading", level=1)).to_have_text("It runs.")
    assert tab.page.evaluate("document.documentElement.scrollWidth") == PHONE_WIDTH
    assert tab.page.evaluate(TOO_WIDE) == []
    assert (tab.page.evaluate(BRIGHTNESS) < 64) == dark
    contrasts = tab.page.evaluate(CONTRASTS)
    assert "It runs." in dict(contrasts)
    assert [pair for pair in contrasts if pair[1] < CONTRAST] == []
    assert tab.problems == []


def test_a_page_that_is_not_there_says_so_in_the_sites_own_look(
    production_site: Site, desktop: Desktop
) -> None:
    tab = desktop.open()

    tab.go(production_site.url("/nowhere"))

    expect(tab.page.get_by_role("heading")).to_have_text("There is no page here")
    assert tab.page.evaluate("getComputedStyle(document.querySelector('h1')).fontWeight") == "750"
    tab.page.get_by_role("link", name="Go to the home page").click()
    expect(tab.page).to_have_title("It runs")


def test_a_word_changed_where_the_page_says_is_there_after_a_reload(
    development_site: Site, desktop: Desktop
) -> None:
    site, tab = development_site, desktop.open()
    tab.go(site.url())
    template = tab.page.locator(".next code").first.inner_text()

    site.clone.replace(f"web/{template}", "<h1>It runs.</h1>", "<h1>It runs twice.</h1>")

    heading = tab.page.get_by_role("heading", name="It runs twice.")
    eventually(lambda: tab.go(site.url()) and heading.is_visible(), "the changed word")
    assert tab.problems == []
