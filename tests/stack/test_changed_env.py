"""A changed .env in production: what can be tried is tried first, and what restarts is said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .clone import Clone
from .engine import docker
from .visitor import answering, crowded
from .waiting import eventually

STILL_SERVING = "The previous version is still serving."


@pytest.fixture(scope="module")
def as_env_says(shared: Clone) -> None:
    """Production runs as .env has it. What tests here leave of it is another version at most."""
    shared.run("-0")


@pytest.fixture
def released(as_env_says: None, production: Clone) -> Clone:
    """Production serving, of which nothing is to restart as long as .env is not changed."""
    return production


@contextmanager
def nothing_restarts(clone: Clone) -> Iterator[None]:
    """Inside, a page that needs the database always comes, and nothing is started again."""
    before = started(clone)
    with answering(clone.visitor("HTTP_PORT"), "/readyz"):
        yield
    assert started(clone) == before


def started(clone: Clone) -> dict[str, str]:
    """When each service of production that runs was started."""
    return {name: one.started_at for name, one in clone.containers("prod", running=True).items()}


def test_a_password_that_the_server_does_not_know_restarts_nothing(released: Clone) -> None:
    released.set_in_env(POSTGRES_PASSWORD="another-password")

    with nothing_restarts(released):
        refused = released.run("-0", ok=False)
        by_boot = released.run("-0", "--no-build", ok=False)

    for one in (refused, by_boot):
        one.refused("preparing the database failed", "")
        assert STILL_SERVING in one.err
    assert "POSTGRES_PASSWORD" in refused.err
    assert "PostgreSQL will restart" not in refused.out, "its container does not know the password"
    assert "another-password" not in refused.text
    # It is explained, and the way to change it works: psql is let in without it.
    assert "\\password postdo" in refused.err
    assert released.run("-0", "psql", "-qAtc", "SELECT 6 * 7").out.strip() == "42"


def test_settings_with_which_postgresql_would_not_start_restart_nothing(
    released: Clone,
) -> None:
    for values in (
        {"POSTGRES_MAX_CONNECTIONS": "50000", "DB_MEMORY": "256m"},
        {"POSTGRES_MAX_CONNECTIONS": "999999"},
    ):
        released.set_in_env(**values)

        with nothing_restarts(released):
            refused = released.run("-0", ok=False)

        refused.refused("PostgreSQL was not restarted, because it would not start", "they name")


def test_a_broken_caddyfile_is_found_before_anything_is_touched(released: Clone) -> None:
    released.write("proxy/Caddyfile", "\nno_such_word {\n", add=True)

    with nothing_restarts(released):
        refused = released.run("-0", ok=False)

    refused.refused("the proxy was not restarted, because it would not start", "they name")
    assert "Caddyfile" in refused.err


def test_without_a_build_a_changed_env_is_released_too_and_no_request_is_lost(
    released: Clone,
) -> None:
    """A key of the project's own: its settings read HSTS_PRELOAD, and no Compose file names it."""
    before = released.live()
    released.set_in_env(HSTS_PRELOAD="on")

    with answering(released.visitor("HTTP_PORT"), "/readyz"):
        said = released.run("-0", "--no-build")

    assert released.live() != before
    assert released.containers("prod")[released.live()].environment["HSTS_PRELOAD"] == "on"
    assert "HSTS_PRELOAD" not in said.err, "a key that the project reads needs no warning"


def test_what_restarts_and_for_how_long_is_said_before(released: Clone) -> None:
    before = started(released)
    released.set_in_env(DB_MEMORY="700m")

    with answering(released.visitor("HTTP_PORT"), "/readyz"):
        said = released.run("-0").out

    database = "PostgreSQL will restart at the end (changed in .env: DB_MEMORY): requests will wait"
    assert said.index(database) < said.index("Restart PostgreSQL while requests wait ... ")
    assert started(released)["db"] != before["db"]
    assert started(released)["proxy"] == before["proxy"]


@pytest.fixture
def newer_caddy(released: Clone) -> str:
    """An image of the same program that has another id; it is removed with the clone's others."""
    name = f"{released.name}-proxy:newer"
    one = docker("create", released.env()["CADDY_IMAGE"]).strip()
    docker("commit", "--change", "LABEL newer=yes", one, name)
    docker("rm", one)
    return name


def test_the_proxy_gets_new_settings_limit_and_image_without_losing_a_request(
    released: Clone, newer_caddy: str
) -> None:
    """Of visitors that come anew, and of those that keep a connection."""
    before = started(released)["proxy"]
    changed = {"ACCESS_LOG": "on", "TRUSTED_PROXIES": "192.0.2.1", "PROXY_MEMORY": "300m"}
    changed["CADDY_IMAGE"] = newer_caddy
    usual = {name: released.env()[name] for name in changed}

    with crowded(released.visitor("HTTP_PORT"), "/healthz") as answered:
        released.set_in_env(**changed)
        said = released.run("-0", "--no-build").out
        proxy = released.containers("prod")["proxy"]
        eventually(lambda: '"uri":"/healthz"' in proxy.log(), "a line of the access log")
        limit = docker("inspect", "--format", "{{.HostConfig.Memory}}", proxy.id)
        programs = proxy.run("sh", "-c", "cat /proc/[0-9]*/cmdline")
        released.set_in_env(**usual)
        released.run("-0", "--no-build")

    assert len(answered) > 100
    told = "new settings at the end (changed in .env: ACCESS_LOG TRUSTED_PROXIES PROXY_MEMORY): no"
    assert told in said
    assert "/etc/caddy/live/caddy-" in programs
    assert int(limit) == 300 * 1024 * 1024
    assert started(released)["proxy"] == before
