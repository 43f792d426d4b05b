"""What cannot work is refused with the reason and the remedy, and what serves goes on serving."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .clone import Clone
from .engine import TOOL_IMAGE, docker
from .test_development import NEW_FIELD, NICKNAME
from .visitor import answering

STILL_SERVING = "The previous version is still serving."


@contextmanager
def serving_all_the_time(clone: Clone) -> Iterator[None]:
    """Inside, the live version answers every request, and afterwards it alone is running still."""
    live, started = clone.live(), clone.containers("prod")[clone.live()].started_at
    with answering(clone.visitor("HTTP_PORT"), "/"):
        yield
    assert clone.live() == live
    assert clone.runs_in("prod") == {"db", "proxy", live}
    assert clone.containers("prod")[live].started_at == started


def test_a_model_without_its_migration_is_refused(production: Clone) -> None:
    production.replace("web/accounts/models.py", NEW_FIELD, NEW_FIELD + NICKNAME)

    with serving_all_the_time(production):
        refused = production.run("-0", ok=False)

    refused.refused("preparing the database was refused: ", "makemigrations")
    assert STILL_SERVING in refused.err
    assert "nickname" in refused.err, "the list of what is missing"


@pytest.mark.parametrize("path", ["web/core/views.py", "web/config/settings/prod.py"])
def test_a_project_that_cannot_be_imported_is_refused(production: Clone, path: str) -> None:
    production.write(path, "\nimport no_such_module\n", add=True)

    with serving_all_the_time(production):
        failed = production.run("-0", ok=False)

    failed.refused("the image could not be built", "sh run.sh -0")
    assert STILL_SERVING in failed.err
    assert "no_such_module" in failed.err


def test_an_image_that_does_not_build_says_so(production: Clone) -> None:
    production.write("web/requirements/prod.txt", "this is not a requirement\n", add=True)

    with serving_all_the_time(production):
        failed = production.run("-0", ok=False)

    failed.refused("the image could not be built: pip could not install", "sh run.sh -0")
    assert STILL_SERVING in failed.err
    assert "this is not a requirement" in failed.err


def test_a_site_that_never_gets_healthy_shows_its_last_lines(production: Clone) -> None:
    production.set_in_env(WSGI_APPLICATION="config.wsgi:nothing", START_TIMEOUT="12")

    with serving_all_the_time(production):
        failed = production.run("-0", ok=False)

    failed.refused("did not become healthy; its last log lines are above", "sh run.sh -0")
    assert "nothing" in failed.err


def test_a_site_that_needs_more_memory_than_it_may_have_names_the_key(production: Clone) -> None:
    """The kernel ends the worker: it has no time to write a line."""
    production.write("web/config/wsgi.py", '\nwaste = b"x" * 400_000_000\n', add=True)
    production.set_in_env(WEB_MEMORY="256m", START_TIMEOUT="12")

    with serving_all_the_time(production):
        failed = production.run("-0", ok=False)

    cause = "was killed because it needs more memory than WEB_MEMORY (256m)"
    failed.refused(f"{cause}. {STILL_SERVING}", "raise WEB_MEMORY in .env")


def test_where_the_site_is_down_it_is_not_said_to_go_on(production: Clone) -> None:
    override = production.root / "docker-compose.override.yml"
    override.write_text("services: {proxy: {command: [sh, -c, 'echo it ends here; exit 1']}}")
    try:
        failed = production.run("-0", ok=False, START_TIMEOUT="12")
    finally:
        override.unlink()

    failed.refused(
        "proxy did not become healthy; its last log lines are above. The site may be down.",
        "status",
    )
    assert "it ends here" in failed.err
    assert STILL_SERVING not in failed.text
    assert not production.visitor("HTTP_PORT").is_up()
    assert re.search(r"proxy +(restarting|starting)", production.run("-0", "status", ok=False).out)
    production.run("-0")
    assert production.visitor("HTTP_PORT").is_up()


def test_a_volume_of_another_postgresql_is_refused_before_anything_starts(fresh: Clone) -> None:
    volume = f"{fresh.project('prod')}_prod-data"
    docker("volume", "create", volume)
    docker("run", "--rm", "-v", f"{volume}:/v", TOOL_IMAGE, "sh", "-c", "echo 16 >/v/PG_VERSION")

    refused = fresh.run("-0", ok=False)

    refused.refused("was created by PostgreSQL 16", "POSTGRES_IMAGE=postgres:16")
    assert fresh.containers("prod") == {}


def test_a_full_disk_shows_in_the_last_lines_of_the_database(fresh: Clone) -> None:
    small = ("--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=30m")
    docker("volume", "create", *small, f"{fresh.project('prod')}_prod-data")

    failed = fresh.run("-0", ok=False, START_TIMEOUT="15")

    assert "No space left on device" in failed.err
    failed.refused("db did not become healthy; its last log lines are above", "sh run.sh -0")
    assert fresh.runs_in("prod") == set()


def test_a_port_taken_by_a_container_is_named_with_it(production: Clone, fresh: Clone) -> None:
    taken = production.environment["HTTP_PORT"]

    refused = fresh.run("-0", ok=False, HTTP_PORT=taken)

    refused.refused(f"is taken by the container {production.project('prod')}-proxy-1", "HTTP_PORT")
