"""Production: `sh run.sh -0` from a clean clone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from .clone import Clone
from .engine import TOOL_IMAGE, docker


def test_a_clean_clone_serves_the_site_behind_the_proxy(production: Clone) -> None:
    answer = production.visitor("HTTP_PORT").get("/")

    assert answer.status == 200, answer
    assert "This site is up." in answer.text
    assert not {"Via", "Server"} & set(answer.headers)
    assert production.runs_in("prod") == {"db", "proxy", production.live()}


def test_status_tells_what_runs_which_version_and_where(production: Clone) -> None:
    said = production.run("-0", "status").text

    assert f"version {production.git('describe', '--always', '--dirty')}" in said
    assert re.search(r"^ +proxy +healthy +http://[\w.-]+:\d+/$", said, re.MULTILINE), said
    assert re.search(rf"^ +{production.live()} +healthy +live$", said, re.MULTILINE), said
    assert re.search(r"^ +db +healthy *$", said, re.MULTILINE), said


def test_a_second_start_touches_nothing_and_says_where_the_site_is(production: Clone) -> None:
    production.run("-0")
    before = {name: one.facts()["State"] for name, one in production.containers("prod").items()}

    second = production.run("-0")

    after = {name: one.facts()["State"] for name, one in production.containers("prod").items()}
    assert {name: state["StartedAt"] for name, state in after.items()} == {
        name: state["StartedAt"] for name, state in before.items()
    }
    assert "Already up to date" in second.out
    port = production.environment["HTTP_PORT"]
    found = re.search(rf"^  site   http://([\w.-]+):{port}/$", second.out, re.MULTILINE)
    assert found, second.out
    assert found[1] in production.env()["ALLOWED_HOSTS"].split(",")


def test_the_superuser_logs_in_to_the_admin_and_adds_a_user(production: Clone) -> None:
    admin = production.admin("HTTP_PORT")

    admin.add_user("added-in-the-admin@example.com")

    listed = admin.get("/admin/accounts/user/").text
    assert "added-in-the-admin@example.com" in listed
    assert admin.get("/").text.count("Production") > 0, "staff see what runs here"


def test_a_form_without_its_token_is_refused(production: Clone) -> None:
    answer = production.visitor("HTTP_PORT").post(
        "/admin/login/", {"username": "a@example.com", "password": "x"}
    )

    assert answer.status == 403, answer


def test_static_files_have_hashed_names_and_come_compressed(production: Clone) -> None:
    visitor = production.visitor("HTTP_PORT")
    style = re.search(r'href="(/static/core/site\.[0-9a-f]{12}\.css)"', visitor.get("/").text)
    assert style, visitor.get("/")

    plain = visitor.get(style[1])
    compressed = visitor.get(style[1], Accept_Encoding="gzip")

    assert plain.status == compressed.status == 200
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert len(compressed.body) < len(plain.body) / 2
    assert "immutable" in plain.headers["Cache-Control"]


def test_logs_and_manage_and_shell_and_psql_reach_the_live_colour(production: Clone) -> None:
    production.visitor("HTTP_PORT").get("/looked-for-in-the-log")

    assert "/looked-for-in-the-log" in production.run("-0", "logs", "web").out
    assert "no issues" in production.run("-0", "manage", "check").text
    script = "from django.conf import settings; print(settings.SETTINGS_MODULE)"
    assert "config.settings.prod" in production.run("-0", "shell", "-c", script).out
    assert production.run("-0", "psql", "-qAtc", "SELECT 6 * 7").out.strip() == "42"


def test_stop_ends_everything_and_the_next_start_has_the_data(production: Clone) -> None:
    production.admin("HTTP_PORT").add_user("before-the-stop@example.com")

    production.run("-0", "stop")

    assert production.runs_in("prod") == set()
    assert not production.visitor("HTTP_PORT").is_up()
    assert "stopped" in production.run("-0", "status", ok=False).text

    production.run("-0")

    listed = production.admin("HTTP_PORT").get("/admin/accounts/user/").text
    assert "before-the-stop@example.com" in listed


@pytest.fixture
def another_python() -> Iterator[str]:
    """An image that is the project's usual Python and one file more."""
    name = "postdo-test/another-python:1"
    container = docker("run", "--detach", TOOL_IMAGE, "touch", "/another-python").strip()
    docker("wait", container)
    docker("commit", container, name)
    docker("rm", container)
    yield name
    docker("rmi", "--force", name)


def test_the_image_is_built_on_the_python_that_env_names(
    shared: Clone, another_python: str
) -> None:
    """The first stage, on which all others stand; from .env to there: test_python_image.py."""
    shared.environment["POSTDO_PYTHON_IMAGE"] = another_python
    try:
        told = shared.compose("prod", "--profile", "tool", "config", "--format", "json")
    finally:
        del shared.environment["POSTDO_PYTHON_IMAGE"]
    build = json.loads(told)["services"]["web"]["build"]
    assert build["args"]["PYTHON_IMAGE"] == another_python

    argument = ("--build-arg", f"PYTHON_IMAGE={another_python}")
    image = docker("build", "--quiet", "--target", "base", *argument, str(shared.root)).strip()

    docker("run", "--rm", "--entrypoint", "test", image, "-f", "/another-python")
    docker("rmi", image)
