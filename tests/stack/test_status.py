"""`status` for machines: 0 well, 1 ill, 2 down; and what it says is what a visitor gets."""

from __future__ import annotations

import re

from .clone import Clone
from .engine import docker
from .waiting import eventually

WELL, ILL, DOWN = 0, 1, 2


def wait_until_well(clone: Clone, mode: str, *services: str) -> None:
    """Until Docker says so of these services, whose health is looked at every ten seconds."""
    there = clone.containers(mode)
    eventually(lambda: all(there[one].state == "healthy" for one in services), str(services), 60)


def test_a_site_that_serves_is_well(production: Clone) -> None:
    said = production.run("-0", "status")

    assert said.status == WELL
    assert re.search("^  visitors +get 200 for /readyz$", said.out, re.MULTILINE), said


def test_without_its_database_the_site_is_ill_at_once(production: Clone) -> None:
    database = production.containers("prod")["db"]
    docker("stop", database.id)
    try:
        told = production.run("-0", "status", ok=False)
        whole = production.run("status", ok=False)
    finally:
        docker("start", database.id)

    assert told.status == whole.status == ILL, told
    assert re.search("^  visitors +get 503 for /readyz: ", told.out, re.MULTILINE), told
    assert re.search(rf"^ +{production.live()} +unhealthy +live$", told.out, re.MULTILINE), told
    assert re.search("^ +db +stopped", told.out, re.MULTILINE), told
    wait_until_well(production, "prod", "db", production.live())
    assert production.run("-0", "status", ok=False).status == WELL


def test_without_the_proxy_or_the_web_the_site_is_down(production: Clone) -> None:
    for name in ("proxy", production.live()):
        container = production.containers("prod")[name]
        docker("stop", container.id)
        try:
            told = production.run("-0", "status", ok=False)
        finally:
            docker("start", container.id)
        assert told.status == DOWN, told
        assert "get no " in told.out, told
        wait_until_well(production, "prod", name)
        eventually(production.visitor("HTTP_PORT").is_up, "the site", 60)


def test_a_page_that_fails_while_docker_says_healthy_is_ill(production: Clone) -> None:
    production.set_in_env(HEALTH_PATH="/no-such-page")
    assert production.run("-0", "status").status == WELL, "the site answers, as it should"
    production.write("web/core/views.py", "\n\ndef broken(request):\n    return 1 / 0\n", add=True)
    urls = "web/core/urls.py"
    production.write(urls, 'urlpatterns += [path("broken/", views.broken)]\n', add=True)
    production.set_in_env(HEALTH_PATH="/readyz")
    production.run("-0")
    production.set_in_env(HEALTH_PATH="/broken/")

    told = production.run("-0", "status", ok=False)

    assert told.status == ILL, told
    assert "get 500 for /broken/" in told.out


def test_a_mode_that_nobody_started_is_down_and_makes_the_others_no_worse(
    production: Clone,
) -> None:
    production.run("-1", "stop")

    assert production.run("-1", "status", ok=False).status == DOWN
    assert production.run("status").status == WELL


def test_development_is_asked_too(development: Clone) -> None:
    assert "visitors   get 200 for /readyz" in development.run("-1", "status").out
    database = development.containers("dev")["db"]
    docker("stop", database.id)
    try:
        told = development.run("-1", "status", ok=False)
    finally:
        docker("start", database.id)

    assert told.status == ILL, told
    wait_until_well(development, "dev", "db", "web")
    assert development.run("-1", "status", ok=False).status == WELL
