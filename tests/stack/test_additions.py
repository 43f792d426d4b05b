"""What docker-compose.override.yml adds reaches the site in every form of it, and stops with it.

And what else a person has beside run.sh: a tool on production's database, a loop around a command.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator

import psycopg2
import pytest

from .clone import Clone
from .engine import docker
from .fixtures import put_back

# An image that is on every machine of these tests, as a service of the site's own.
ADDITIONS = """
services:
  cache:
    image: caddy:2
    command: [caddy, respond, --listen, ":6379", "the cache"]
    init: true
  web:
    environment:
      SHOP_TOKEN: from the override
    volumes:
      - uploads:/uploads
    ports:
      - "127.0.0.1:9000:9000"
  pgadmin:
    environment:
      PGADMIN_CONFIG_CONSOLE_LOG_LEVEL: "30"
  proxy:
    environment:
      SITE_NOTE: "of production"
volumes:
  uploads:
"""
OVERRIDE = "docker-compose.override.yml"
ASK = (
    "import os, urllib.request as u; from pathlib import Path; print(os.environ['SHOP_TOKEN'],"
    " Path('/uploads').is_mount(), u.urlopen('http://cache:6379').read().decode(), sep=', ')"
)
ANSWER = "from the override, True, the cache"
FREE = 5


@contextlib.contextmanager
def with_override(clone: Clone, text: str, mode: str) -> Iterator[None]:
    """The clone with that override, and afterwards without it and what it has started."""
    clone.write(OVERRIDE, text)
    try:
        yield
    finally:
        (clone.root / OVERRIDE).unlink()
        cache = clone.containers(mode).get("cache")
        if cache:
            docker("rm", "--force", cache.id)


def test_production_additions_reach_every_form_of_the_site_and_stop_with_it(
    production: Clone,
) -> None:
    with with_override(production, ADDITIONS, "prod"):
        production.run("-0")
        assert ANSWER in production.run("-0", "manage", "shell", "-c", ASK).out
        assert production.containers("prod")[production.live()].facts()["HostConfig"][
            "PortBindings"
        ] in ({}, None)

        production.run("-0", "stop")
        assert production.runs_in("prod") == set()

        # In a container of its own: what the site needs is started, and stopped again.
        assert ANSWER in production.run("-0", "manage", "shell", "-c", ASK).out
        assert production.runs_in("prod") == set()
        production.run("-0", "--no-build")
        assert {"cache", "db", "proxy", production.live()} <= production.runs_in("prod")


def test_development_additions_do_the_same(shared: Clone) -> None:
    additions = ADDITIONS.replace("9000:9000", "0:9000")
    with put_back(shared), with_override(shared, additions, "dev"):
        shared.run("-1")
        assert ANSWER in shared.run("-1", "manage", "shell", "-c", ASK).out
        shared.run("-1", "stop")
        assert shared.runs_in("dev") == set()


def test_what_cannot_be_is_refused_before_anything_is_touched(production: Clone) -> None:
    before = production.containers("prod")
    for text, what, remedy in (
        ('services: {db: {ports: ["127.0.0.1:5432:5432"]}}', "publishes ports of db", "PROD_DB"),
        ("services: {web-blue: {environment: {A: b}}}", "of web-blue alone", "write it under web"),
        ("services: {web: [}", "cannot be used", "docs/additions.md"),
        ("services: {web: {enviroment: {A: b}}}", "enviroment", "correct it"),
    ):
        with with_override(production, text, "prod"):
            for arguments in (("-0",), ("-0", "manage", "check")):
                production.run(*arguments, ok=False).refused(what, remedy)
    assert production.containers("prod") == before


def test_a_tool_reaches_productions_database_on_loopback_alone(production: Clone) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = production.env()
    try:
        production.run("-0", PROD_DB_PORT=str(port))
        connection = psycopg2.connect(
            host="127.0.0.1",
            port=port,
            user=env["POSTGRES_USER"],
            password=env["POSTGRES_PASSWORD"],
            dbname=env["POSTGRES_DB"],
        )
        connection.close()
        with pytest.raises(OSError, match=r"refused|timed out"):
            socket.create_connection((own_address(), port), timeout=FREE)
        # The way in is no way out: from the database to the proxy's port by this machine's network.
        networks = production.containers("prod")["db"].facts()["NetworkSettings"]["Networks"]
        options = docker(
            "network", "inspect", "--format", "{{json .Options}}", *sorted(networks)
        ).splitlines()
        assert any('enable_ip_masquerade":"false"' in line for line in options)
    finally:
        production.run("-0")
    assert "5432/tcp" not in str(
        production.containers("prod")["db"].facts()["HostConfig"]["PortBindings"]
    )


def own_address() -> str:
    """An address of this machine that is not loopback."""
    return subprocess.run(
        ["hostname", "-I"], capture_output=True, text=True, check=True
    ).stdout.split()[0]


def test_a_loop_keeps_its_list_and_meant_input_reaches_its_command(production: Clone) -> None:
    """With a real Docker; every command and every shell: tests/shell/test_input.py."""
    for command in (
        "psql -Atc \"SELECT 'got ' || '$word'\"",
        "manage shell -c \"print('got $word')\"",
    ):
        loop = f"printf 'a\\nb\\n' | while read -r word; do sh run.sh -0 {command}; done"
        done = in_shell(production, loop)
        assert [line for line in done.splitlines() if line.startswith("got ")] == ["got a", "got b"]
    for line in (
        "echo 42 | sh run.sh -0 psql -At -c 'CREATE TEMP TABLE t (n int)' -c 'COPY t FROM STDIN'"
        " -c 'SELECT n FROM t'",
        "echo 42 >in && sh run.sh -0 manage shell -c 'print(input())' <in; rm in",
    ):
        assert "42" in in_shell(production, line).splitlines()


def in_shell(clone: Clone, line: str) -> str:
    """What a line prints that a person types in the clone."""
    done = subprocess.run(
        [*clone.as_owner_if_asked(), "sh", "-c", line],
        cwd=clone.root,
        env=clone.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
