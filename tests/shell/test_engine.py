"""Each way in which there is no Docker that will do has its own message and remedy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .fakes import FakeDocker
from .machine import Clone, Toolbox

# What Docker itself says, word for word.
NOT_RUNNING = (
    "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. "
    "Is the docker daemon running?"
)
NOT_ALLOWED = (
    "permission denied while trying to connect to the Docker daemon socket at "
    'unix:///var/run/docker.sock: Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.51/version": '
    "dial unix /var/run/docker.sock: connect: permission denied"
)
NEEDS_ENGINE = (("-0",), ("-0", "--no-build"), ("-1",), ("-0", "stop"), ("-1", "logs"))


@pytest.mark.parametrize("flag", ["-0", "-1"])
def test_without_docker_nothing_is_touched(clone: Clone, flag: str) -> None:
    before = clone.files()
    clone.run(flag).assert_refused("Docker is not installed", "install Docker Engine 25")
    assert clone.files() == before


def test_without_docker_other_commands_on_its_modes_say_so(clone: Clone) -> None:
    clone.has_started()
    for arguments in (*NEEDS_ENGINE, ("-1", "psql"), ("-0", "manage", "check"), ("-1", "shell")):
        clone.run(*arguments).assert_refused("Docker is not installed", "or use sh run.sh -2")


def test_an_engine_that_is_not_running_is_told_apart(
    dash_clone: Clone, toolbox: Toolbox, tmp_path: Path
) -> None:
    folder = toolbox.real_docker()
    if folder is None:
        pytest.skip("needs the docker command line")
    dash_clone.first.append(folder)
    nowhere = f"unix://{tmp_path}/no.sock"
    for where in (nowhere, "tcp://127.0.0.1:9"):
        result = dash_clone.run("-1", DOCKER_HOST=where)
        result.assert_refused("the Docker engine is not running", "sudo systemctl start docker")
    assert "Docker: the Docker engine is not" in dash_clone.run("status", DOCKER_HOST=nowhere).out


@pytest.mark.parametrize(
    ("said", "what", "remedy"),
    [
        (NOT_RUNNING, "the Docker engine is not running", "systemctl start docker"),
        (NOT_ALLOWED, "no permission to talk to Docker", "sudo usermod -aG docker"),
        ("unexpected\nodd thing", "does not answer: odd thing", "journalctl -u docker"),
        ("", "the Docker engine does not answer", "find out why: docker version"),
    ],
    ids=["not-running", "not-allowed", "odd", "silent"],
)
def test_an_engine_that_does_not_answer_is_explained_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker, said: str, what: str, remedy: str
) -> None:
    docker.answer("version --format*", err=said, status=1)
    dash_clone.run("-1").assert_refused(what, remedy)
    dash_clone.run("-0").assert_refused(what, remedy)
    assert what in dash_clone.run("status").out
    assert what in dash_clone.run("doctor").out
    assert not dash_clone.state.exists()


@pytest.mark.parametrize("version", ["24.0.9", "20.10.24+dfsg1", "1.13.1"])
def test_an_engine_that_is_too_old_is_refused_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker, version: str
) -> None:
    docker.answer("version --format*", out=version)
    result = dash_clone.run("-1")
    result.assert_refused(f"Docker Engine {version} is too old", "upgrade it to 25 or newer")


@pytest.mark.parametrize("version", ["2.23.3", "v2.2.3", "1.29.2"])
def test_a_compose_that_is_too_old_is_refused_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker, version: str
) -> None:
    docker.answer("compose version*", out=version)
    result = dash_clone.run("-1")
    result.assert_refused(f"Docker Compose {version} is too old", "2.24 or newer")


def test_a_docker_without_compose_is_refused_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    docker.answer("compose*", err="docker: 'compose' is not a docker command.", status=1)
    dash_clone.run("-0").assert_refused("no Compose plugin", "docker-compose-plugin")


@pytest.mark.parametrize(
    ("engine", "compose"),
    [("25.0.0", "2.24.0"), ("26.1.5+dfsg1", "2.26.1-4"), ("29.0.0-rc.1", "v5.0.1"), ("25", "3")],
)
def test_every_newer_docker_will_do_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker, engine: str, compose: str
) -> None:
    docker.answer("version --format*", out=engine)
    docker.answer("compose version*", out=compose)
    out = dash_clone.run("doctor").assert_ok().out
    assert f"  ok   Docker {engine} with Compose {compose}\n" in out
    assert "  ok   -0 production\n  ok   -1 development\n" in out


def test_a_disk_that_is_nearly_full_stops_the_start_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker, tmp_path: Path
) -> None:
    # df of a folder that has what it has: the need is what this test sets.
    free = shutil.disk_usage(tmp_path).free // 1024 // 1024
    dash_clone.add_command("need", 'main() { require_engine; require_disk "$1"; say enough; }')
    dash_clone.run("need", str(free // 2)).assert_ok()
    result = dash_clone.run("need", str(free * 2))
    result.assert_refused(f"but {free * 2} MB are needed", "docker image prune")


def test_two_modes_running_is_a_question_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    docker.answer("ps -a* *-prod *service=proxy *", out="proxy id-proxy running Up (healthy)")
    docker.answer("ps -a* *-dev *service=web *", out="web id-web running Up (healthy)")
    result = dash_clone.run("logs")
    result.assert_refused(
        "several are running: production development", "sh run.sh -0 logs", status=2
    )
    assert "sh run.sh -1 logs" in result.err


def test_the_one_mode_that_runs_is_meant_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    docker.answer("ps -a* *-dev *service=web *", out="web id-web running Up (healthy)")
    dash_clone.run("logs", "web").assert_ok()
    project = dash_clone.environment["PROJECT_NAME"]
    assert f" -p {project}-dev " in docker.calls()[-1]
    assert docker.compose_calls()[-1] == "logs --no-color --tail 200 web"
