"""Local development: `sh run.sh -2` where Docker is there, beside `-1` and on the same data."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from .clone import Clone
from .runs import Run
from .waiting import eventually

INSTALLING = ("Create a virtual environment", "Install the requirements", "Install PostgreSQL")


@pytest.fixture(scope="module")
def keeper() -> Iterator[list[Run]]:
    """The run.sh that keeps the local server, if there is one; ended after this file."""
    runs: list[Run] = []
    yield runs
    for run in runs:
        run.remove()


@pytest.fixture
def local(development: Clone, keeper: list[Run]) -> Clone:
    """The shared clone with the local server running beside development."""
    if not keeper or keeper[-1].ended:
        keeper.append(start(development))
    return development


def start(clone: Clone) -> Run:
    """Start -2, and wait until it serves."""
    run = clone.start("-2")
    run.said("stop      Ctrl-C", 300)
    eventually(clone.visitor("LOCAL_PORT").is_up, f"the local server:\n{run.text}", 60)
    return run


def test_the_local_server_says_what_it_is(local: Clone) -> None:
    page = local.visitor("LOCAL_PORT").get("/")

    assert page.status == 200
    assert ">Local<" in page.text
    assert f"http://127.0.0.1:{local.environment['PGADMIN_PORT']}/" in page.text
    status = local.run("status", ok=False).text  # production may be stopped by another test
    assert "visitors   get 200 for /readyz" in local.run("-2", "status").out
    assert f"http://127.0.0.1:{local.environment['LOCAL_PORT']}/" in status
    assert f"http://127.0.0.1:{local.environment['DEV_PORT']}/" in status


def test_a_row_written_through_one_is_there_in_the_other(local: Clone) -> None:
    in_docker, beside = local.admin("DEV_PORT"), local.admin("LOCAL_PORT")

    in_docker.add_user("through-docker@example.com")
    beside.add_user("through-local@example.com")

    for visitor in (in_docker, beside):
        listed = visitor.get("/admin/accounts/user/").text
        assert "through-docker@example.com" in listed
        assert "through-local@example.com" in listed


def test_a_saved_file_is_served_without_a_restart(local: Clone, keeper: list[Run]) -> None:
    visitor = local.visitor("LOCAL_PORT")
    reloads = keeper[-1].text.count("changed, reloading")
    local.replace("web/core/views.py", '"details": True,', '"details": False,')
    eventually(lambda: "PostgreSQL" not in visitor.get("/").text, "the change")

    local.git("checkout", "--quiet", "--", "web")
    eventually(lambda: "PostgreSQL" in visitor.get("/").text, "the change of it back")
    assert keeper[-1].text.count("changed, reloading") > reloads
    assert not keeper[-1].ended


def test_commands_work_in_the_local_mode(local: Clone) -> None:
    script = "from django.conf import settings; print(settings.APP_MODE)"

    assert local.run("-2", "shell", "-c", script).out.splitlines()[-1] == "local"
    assert local.run("-2", "psql", "-qAtc", "SELECT 6 * 7").out.strip() == "42"
    assert "no issues" in local.run("-2", "manage", "check").text


def test_a_second_run_is_told_that_one_is_at_work(local: Clone, keeper: list[Run]) -> None:
    second = local.run("-2", ok=False)

    second.refused("another run.sh is running here (local)", "kill")
    assert not keeper[-1].ended
    assert local.visitor("LOCAL_PORT").is_up()


def test_ctrl_c_ends_it_and_leaves_development_alone(local: Clone, keeper: list[Run]) -> None:
    before = {name: one.started_at for name, one in local.containers("dev").items()}

    ended = keeper[-1].stop(signal.SIGINT)

    assert ended.status == 130, ended
    assert not local.visitor("LOCAL_PORT").is_up("/healthz")
    assert local.visitor("DEV_PORT").is_up()
    assert {name: one.started_at for name, one in local.containers("dev").items()} == before


def test_the_second_start_installs_nothing(development: Clone, keeper: list[Run]) -> None:
    if not keeper:
        keeper.append(start(development))
    keeper[-1].stop()

    second = start(development)
    keeper.append(second)

    assert not [step for step in INSTALLING if step in second.text], second.text


def test_stop_from_another_terminal_ends_it(local: Clone, keeper: list[Run]) -> None:
    local.run("-2", "stop")

    ended = keeper[-1].wait(30)
    assert ended.status == 143, ended
    assert not local.visitor("LOCAL_PORT").is_up("/healthz")
    assert local.visitor("DEV_PORT").is_up()


def test_stopping_development_leaves_the_local_server_its_database(local: Clone) -> None:
    said = local.run("-1", "stop").text

    assert "PostgreSQL keeps running" in said
    assert local.runs_in("dev") == {"db"}
    assert local.visitor("LOCAL_PORT").is_up()


def test_the_last_one_out_stops_the_database(shared: Clone, keeper: list[Run]) -> None:
    shared.run("-1", "stop")
    if not keeper or keeper[-1].ended:
        keeper.append(start(shared))
    assert shared.runs_in("dev") == {"db"}, "it starts no more than it needs"

    keeper[-1].stop(signal.SIGTERM)

    assert shared.runs_in("dev") == set()
