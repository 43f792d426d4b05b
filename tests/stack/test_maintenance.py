"""`maintenance`: who gets the page, and who gets the site, by the real Caddy."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from .clone import Clone
from .engine import docker
from .waiting import eventually

PAGE = "<!doctype html><h1>At {six} o'clock</h1>"


@pytest.fixture
def closed(production: Clone) -> Iterator[str]:
    """Production under maintenance, with a page of its own; the path of the link."""
    production.write("web/maintenance.html", PAGE)
    said = production.run("maintenance", "on").out
    link = re.search(r"/\?maintenance_key=\S+", said)
    assert link, said
    yield link[0]
    production.run("maintenance", "off")


def test_everyone_gets_the_page_and_who_has_the_link_the_site(
    production: Clone, closed: str
) -> None:
    stranger, owner = production.visitor("HTTP_PORT"), production.visitor("HTTP_PORT")

    for answer in (stranger.get("/healthz"), stranger.post("/", {"a": "1"})):
        assert (answer.status, answer.text) == (503, PAGE)
        assert answer.headers["Retry-After"] == "60"
        assert answer.headers["Cache-Control"] == "no-store"
    wrong = closed[:-1] + ("x" if closed[-1] != "x" else "y")
    for path in (wrong, "/?maintenance_key="):
        assert stranger.get(path, Cookie="maintenance_key=").status == 503
    assert owner.get(closed).status == 303
    assert owner.get("/healthz").status == 200
    assert production.run("-0", "status").status == 0


def test_an_allowed_address_gets_the_site(production: Clone, closed: str) -> None:
    visitor = production.visitor("HTTP_PORT")
    # As the proxy sees this machine, which is not always 127.0.0.1.
    network = docker("network", "inspect", f"{production.project('prod')}_frontend")
    addresses = {"127.0.0.1", "::1", *re.findall(r'"Gateway": "([^"/]+)"', network)}

    production.run("maintenance", "on", *(word for one in addresses for word in ("--allow", one)))

    assert visitor.get("/healthz").status == 200


def test_it_stays_over_a_restart_and_can_be_turned_on_without_the_site(production: Clone) -> None:
    visitor = production.visitor("HTTP_PORT")
    there = production.containers("prod")
    docker("stop", there[production.live()].id)
    try:
        production.run("maintenance", "on")
        docker("restart", there["proxy"].id)
        eventually(lambda: visitor.get("/healthz").headers["Retry-After"] == "60", "the page")
    finally:
        docker("start", there[production.live()].id)
        production.run("maintenance", "off")
    eventually(visitor.is_up, "the site")
