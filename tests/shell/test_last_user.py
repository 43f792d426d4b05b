"""Who has started a database ends it, unless somebody else uses it by then; never half-made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from waiting import until

from .fakes import FakeDocker
from .machine import PATIENCE, Clone, start_of

STARTS_IT = [("-0", "psql"), ("-1", "psql"), ("-2", "psql"), ("plan",), ("drift",)]
OF_DEVELOPMENT = [("-1", "psql"), ("-2", "psql")]
OF_PRODUCTION = [("-0", "psql"), ("plan",), ("rehearse",)]
# The server of -2; a run.sh of it whose server does not run yet, or that needs none.
LOCAL = ["local.pid", "lock-local"]
# How -2 ends, without its server.
END_OF_LOCAL = """main() {
    prepare_environment
    take_lock local
    choose_local_database
    undo_with stop_local_database
}"""

START_OF_LOCAL = """main() {
    prepare_environment
    choose_local_database
    start_local_database
}"""


@pytest.fixture
def shared(clone: Clone, tmp_path: Path) -> tuple[Clone, FakeDocker]:
    """A clone with a fake docker in which nothing runs."""
    docker = FakeDocker(tmp_path / "fake-docker")
    clone.first.append(docker.folder)
    return clone, docker


def somebody_has(clone: Clone, name: str) -> None:
    """A process that lives (this one) stands in a file of the state."""
    clone.state.mkdir(mode=0o700, exist_ok=True)
    pid = os.getpid()
    (clone.state / name).write_text(f"{pid} {start_of(pid)} 2026-01-02 03:04:05\n")


def went_well(clone: Clone, *arguments: str) -> None:
    """Not quietly: that a database is started is said."""
    result = clone.run(*arguments)
    assert result.status == 0, result


def stops(docker: FakeDocker) -> list[str]:
    """The databases' stops among the calls."""
    return [call for call in docker.compose_calls() if call == "stop db"]


@pytest.mark.parametrize("arguments", STARTS_IT, ids=" ".join)
def test_a_database_that_nobody_else_uses_is_stopped_again(
    shared: tuple[Clone, FakeDocker], arguments: tuple[str, ...]
) -> None:
    clone, docker = shared
    went_well(clone, *arguments)
    assert [call for call in docker.compose_calls() if call.startswith("up ")]
    assert docker.compose_calls()[-1] == "stop db"
    assert len(stops(docker)) == 1


@pytest.mark.parametrize("file", LOCAL)
@pytest.mark.parametrize("arguments", OF_DEVELOPMENT, ids=" ".join)
def test_leaving_psql_stops_no_database_under_a_local_run(
    shared: tuple[Clone, FakeDocker], arguments: tuple[str, ...], file: str
) -> None:
    clone, docker = shared
    somebody_has(clone, file)
    went_well(clone, *arguments)
    assert stops(docker) == []
    (clone.state / file).write_text(f"{os.getpid()} 1 of a process that has ended\n")
    went_well(clone, *arguments)
    assert len(stops(docker)) == 1


@pytest.mark.parametrize("arguments", [*OF_DEVELOPMENT, ("end",)], ids=" ".join)
def test_nothing_stops_the_database_under_development(
    dash_clone: Clone, docker: FakeDocker, arguments: tuple[str, ...]
) -> None:
    dash_clone.add_command("end", END_OF_LOCAL)
    docker.has_container("web")
    went_well(dash_clone, *arguments)
    assert stops(docker) == []


@pytest.mark.parametrize("arguments", [*OF_PRODUCTION, *OF_DEVELOPMENT, ("end",)], ids=" ".join)
def test_nothing_stops_the_database_under_a_command_in_a_container_of_its_own(
    dash_clone: Clone, docker: FakeDocker, arguments: tuple[str, ...]
) -> None:
    dash_clone.add_command("end", END_OF_LOCAL)
    mode = "prod" if arguments in OF_PRODUCTION else "dev"
    of_mode = f"label=com.docker.compose.project={dash_clone.environment['PROJECT_NAME']}-{mode}"
    docker.answer(f"ps -q --filter {of_mode} *oneoff=True", out="id-of-manage")
    went_well(dash_clone, *arguments)
    assert stops(docker) == []


@pytest.mark.parametrize("service", ["web-blue", "web-green", "proxy"])
@pytest.mark.parametrize("arguments", OF_PRODUCTION, ids=" ".join)
def test_no_look_stops_the_database_under_production(
    dash_clone: Clone, docker: FakeDocker, arguments: tuple[str, ...], service: str
) -> None:
    docker.has_container(service)
    went_well(dash_clone, *arguments)
    assert stops(docker) == []


@pytest.mark.parametrize("file", LOCAL)
def test_development_leaves_and_keeps_the_database_of_a_local_run(
    shared: tuple[Clone, FakeDocker], file: str
) -> None:
    clone, docker = shared
    somebody_has(clone, file)
    assert "PostgreSQL keeps running" in clone.run("-1", "stop").out
    docker.answer("compose *up *", status=1)
    assert clone.run("-1").status == 1
    for flag in ("-1", "-2"):
        clone.run(flag, "reset", "--yes").assert_refused(
            "the local server (-2) is using", "-2 stop"
        )
    assert stops(docker) == []
    assert not [call for call in docker.compose_calls() if call.startswith("down")]


def test_a_local_run_that_ends_leaves_the_database_to_whoever_is_at_work_on_it(
    shared: tuple[Clone, FakeDocker],
) -> None:
    clone, docker = shared
    clone.add_command("end", END_OF_LOCAL)
    somebody_has(clone, "lock-dev")
    went_well(clone, "end")
    assert stops(docker) == []
    (clone.state / "lock-dev").unlink()
    went_well(clone, "end")
    assert len(stops(docker)) == 1


def test_a_build_that_fails_ends_a_database_that_was_left_to_it(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    docker.answer("compose *build*", status=1)
    assert dash_clone.run("-1").status == 1
    assert len(stops(docker)) == 1


@pytest.mark.parametrize("arguments", [("-0", "psql"), ("-1", "psql"), ("plan",)], ids=" ".join)
def test_the_first_start_of_a_volume_is_let_finish(
    dash_clone: Clone, docker: FakeDocker, arguments: tuple[str, ...]
) -> None:
    dash_clone.has_started()
    asked = "exec id-db cat /proc/1/comm"
    docker.has_container("db", "stopped")
    docker.answer("compose *up *", status=1)  # not healthy in time: its scripts are still at work
    docker.answer(asked, out="sh")
    with dash_clone.start(*arguments) as run:
        until(lambda: docker.calls().count(asked) > 2, "the second question")
        assert stops(docker) == []
        docker.answer(asked, out="postgres")
        run.communicate(timeout=PATIENCE)
    assert run.returncode == 1
    assert docker.compose_calls()[-1] == "stop db"


@pytest.mark.parametrize("moved", [True, False])
def test_a_database_on_the_port_of_before_is_given_the_new_one(
    dash_clone: Clone, docker: FakeDocker, moved: bool
) -> None:
    """DEV_DB_PORT was changed while it ran: -2 would ask at a port where nobody listens."""
    dash_clone.environment["DEV_DB_PORT"] = "15433"
    dash_clone.add_command("lend", START_OF_LOCAL)
    docker.has_container("db")
    docker.answer("port id-db 5432/tcp", out=f"127.0.0.1:{5433 if moved else 15433}")

    went_well(dash_clone, "lend")

    ups = [call for call in docker.compose_calls() if call.startswith("up ")]
    assert bool(ups) is moved
