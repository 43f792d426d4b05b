"""A port that is taken is said before anything fails on it, with who has it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .fakes import FakeDocker
from .machine import IS_ROOT, Clone, free_ports

ADDRESSES = ["127.0.0.1", "0.0.0.0", "::1", "::"]  # noqa: S104 - what others listen on


@contextlib.contextmanager
def listener(port: int, address: str = "127.0.0.1") -> Iterator[int]:
    """A process that listens on a port; its number."""
    program = (
        "import socket, sys; family = socket.AF_INET6 if ':' in sys.argv[2] else socket.AF_INET\n"
        "server = socket.create_server((sys.argv[2], int(sys.argv[1])), family=family)\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-ISc", program, str(port), address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            yield process.pid
        finally:
            process.communicate()


@pytest.mark.every_shell
def test_a_taken_port_is_said_with_the_process_that_has_it(clone: Clone) -> None:
    port = int(clone.environment["LOCAL_PORT"])
    with listener(port) as pid:
        result = clone.run("-2")
        result.assert_refused(
            f"port {port} (LOCAL_PORT) is taken by process {pid} (",
            "stop it, or set LOCAL_PORT in the environment to a free port",
        )
        assert Path(sys.executable).name in result.err
    assert not (clone.state / "venv").exists()


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_port_is_taken_on_whatever_address(dash_clone: Clone, address: str) -> None:
    if ":" in address and not can_listen(address):
        address = "0.0.0.0"  # noqa: S104 - a machine without IPv6 has no such listener
    with listener(int(dash_clone.environment["LOCAL_PORT"]), address) as pid:
        dash_clone.run("-2").assert_refused(f"taken by process {pid}", "free port")


def test_a_port_taken_by_another_user_is_said_all_the_same(nobodys_clone: Clone) -> None:
    port = int(nobodys_clone.environment["LOCAL_PORT"])
    with listener(port) as pid:
        who = "a process of another user" if IS_ROOT else f"process {pid} ("
        nobodys_clone.run("-2").assert_refused(f"is taken by {who}", "free port")


def test_doctor_says_which_ports_are_in_use(clone: Clone) -> None:
    clone.has_started()
    port = int(clone.environment["PGADMIN_PORT"])
    with listener(port) as pid:
        out = clone.run("doctor").assert_ok().out
    assert f"port {port} (PGADMIN_PORT) is in use by process {pid}" in out
    assert out.count("is in use by") == 1


def test_doctor_looks_at_the_port_of_https_if_there_is_a_domain(dash_clone: Clone) -> None:
    dash_clone.has_started()
    with listener(int(dash_clone.environment["HTTPS_PORT"])):
        assert "HTTPS_PORT" not in dash_clone.run("doctor").assert_ok().out
        out = dash_clone.run("doctor", DOMAIN="example.com").assert_ok().out
    assert "(HTTPS_PORT) is in use by process" in out


def test_a_free_port_and_one_that_only_looks_alike_are_let_through(clone: Clone) -> None:
    # 0x1F40 is 8000: a connection from that port, or to it, is no listener on it.
    (port,) = free_ports(1)
    clone.add_command("check", f"main() {{ PORT={port}; require_port PORT; say free; }}")
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("127.0.0.1", port))
        client.connect(server.getsockname())
        with client:
            assert clone.run("check").assert_ok().out == "free\n"


@pytest.mark.parametrize(
    ("flag", "key"),
    [("-0", "HTTP_PORT"), ("-1", "DEV_PORT"), ("-1", "PGADMIN_PORT"), ("-1", "DEV_DB_PORT")],
)
def test_docker_is_not_let_run_into_a_taken_port_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker, flag: str, key: str
) -> None:
    port = int(dash_clone.environment[key])
    with listener(port) as pid:
        dash_clone.run(flag).assert_refused(
            f"port {port} ({key}) is taken by process {pid}", f"set {key}"
        )
    assert docker.compose_calls() == []


def test_production_and_development_have_a_flower_each_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    """Both modes run on one machine, at the same time and from one .env."""
    keys = ("FLOWER_PORT", "DEV_FLOWER_PORT")
    for flag, (taken, other) in (("-0", keys), ("-1", keys[::-1])):
        with listener(int(dash_clone.environment[other])):
            assert dash_clone.run(flag, COMPOSE_PROFILES="tasks").status == 0
        with listener(int(dash_clone.environment[taken])):
            done = dash_clone.run(flag, COMPOSE_PROFILES="tasks")
            done.assert_refused(f"({taken}) is taken", f"set {taken}")


def test_https_needs_its_port_only_with_a_domain_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    with listener(int(dash_clone.environment["HTTPS_PORT"])):
        dash_clone.run("-0", DOMAIN="example.com").assert_refused("(HTTPS_PORT) is taken", "free")
        assert dash_clone.run("-0").status == 0


def test_a_container_on_the_port_is_named_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    # Where Docker publishes without its proxy, no process listens.
    port = dash_clone.environment["DEV_PORT"]
    docker.answer(f"ps --filter publish={port} --format *", out="somebody-web-1")
    dash_clone.run("-1").assert_refused("taken by the container somebody-web-1", "free port")


def test_a_port_that_the_mode_itself_has_is_its_own_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    port, project = dash_clone.environment["DEV_PORT"], dash_clone.environment["PROJECT_NAME"]
    mine = f"--filter label=com.docker.compose.project={project}-dev"
    docker.answer(f"ps --filter publish={port} {mine} --format *", out="mine-web-1")
    with listener(int(port)):
        assert dash_clone.run("-1").status == 0


def test_a_port_of_a_container_that_is_being_restarted_is_its_own_with_a_fake_docker(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    # It has no port at that moment, and what held it for the one before is still there.
    project = dash_clone.environment["PROJECT_NAME"]
    mine = f"--filter label=com.docker.compose.project={project}-dev"
    docker.answer(f"ps -q {mine} --filter status=restarting", out="id-web")
    with listener(int(dash_clone.environment["DEV_PORT"])):
        assert dash_clone.run("-1").status == 0


def can_listen(address: str) -> bool:
    """Has this machine such an address?"""
    with contextlib.suppress(OSError):
        socket.create_server((address, 0), family=socket.AF_INET6).close()
        return True
    return False
