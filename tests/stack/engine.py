"""Docker, as the tests see it: what is there, what it says, and what can be done to it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SERVICE = '{{.Label "com.docker.compose.service"}}'
ONE_OFF = '{{.Label "com.docker.compose.oneoff"}}'
PROJECT = '{{.Label "com.docker.compose.project"}}'
IMAGE = "{{.Repository}}:{{.Tag}}"
TOOL_IMAGE = "python:3.13-slim"  # the project's own base: it is there wherever the project is


class DockerError(Exception):
    """A docker command that failed, with what it said."""


def docker(
    *arguments: str, seconds: float = 120, environment: Mapping[str, str] | None = None
) -> str:
    """Run a docker command and return what it printed. Raises DockerError if it fails."""
    done = try_docker(*arguments, seconds=seconds, environment=environment)
    if done.returncode:
        command = " ".join(arguments)
        raise DockerError(f"docker {command}: status {done.returncode}\n{done.stderr}{done.stdout}")
    return done.stdout


def try_docker(
    *arguments: str, seconds: float = 120, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The same, for a command that may fail: its end tells."""
    return subprocess.run(
        ["docker", *arguments],
        env=environment,
        start_new_session=True,  # a Ctrl-C is for the tests, which have to clean up
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def engine_problem() -> str:
    """Why there is no engine to test with; empty if there is one."""
    try:
        done = try_docker("version", "--format", "{{.Server.Version}}", seconds=30)
    except FileNotFoundError:
        return "docker is not installed"
    except subprocess.TimeoutExpired:
        return "the Docker engine does not answer within 30 s"
    if done.returncode:
        return f"no Docker engine answers: {done.stderr.strip()}"
    return ""


@dataclass(frozen=True)
class Container:
    """One container, by its id."""

    id: str

    def facts(self) -> Any:
        """What `docker inspect` says of it."""
        return json.loads(docker("inspect", self.id))[0]

    @property
    def state(self) -> str:
        """Its health where it has a check, else running or exited."""
        state = self.facts()["State"]
        return str(state["Health"]["Status"] if "Health" in state else state["Status"])

    @property
    def started_at(self) -> str:
        """When it was started, as Docker writes it: the same text means the same run."""
        return str(self.facts()["State"]["StartedAt"])

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its first process."""
        pairs = (line.split("=", 1) for line in self.facts()["Config"]["Env"])
        return dict(pairs)

    def address(self, network: str) -> str:
        """Its IP address in a network."""
        return str(self.facts()["NetworkSettings"]["Networks"][network]["IPAddress"])

    def run(self, *command: str) -> str:
        """Run a command in it, and return what it printed."""
        return docker("exec", self.id, *command)

    def try_run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command that may fail in it."""
        return try_docker("exec", self.id, *command)

    def process(self, pid: int = 1) -> dict[str, str]:
        """/proc/PID/status of a process in it."""
        lines = self.run("cat", f"/proc/{pid}/status").splitlines()
        return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}

    def log(self, lines: int = 200, *, since: float = 0) -> str:
        """The last lines that it wrote, since a time in seconds since 1970."""
        done = try_docker("logs", "--tail", str(lines), "--since", f"{since:.3f}", self.id)
        return done.stdout + done.stderr

    def kill_first_process(self) -> None:
        """SIGKILL to its PID 1 from outside, as the kernel does when memory is short.

        Not `docker kill`: that counts as a wish of the user, and nothing is started again. From a
        container that sees the host's processes, so that it works without being root here.
        """
        pid = self.facts()["State"]["Pid"]
        docker(
            *("run", "--rm", "--network", "none", "--pid", "host", TOOL_IMAGE),
            *("python3", "-c", f"import os; os.kill({pid}, 9)"),
        )


def containers(project: str, *, running: bool = False) -> dict[str, Container]:
    """The containers of a Compose project by service; one-off ones as `service (one-off)`."""
    listed = docker(
        *("ps", "--no-trunc", "--filter", f"label=com.docker.compose.project={project}"),
        *([] if running else ["--all"]),
        *("--format", f"{{{{.ID}}}} {SERVICE} {ONE_OFF}"),
    )
    found = {}
    for line in listed.splitlines():
        container, service, one_off = line.split()
        found[f"{service} (one-off)" if one_off == "True" else service] = Container(container)
    return found


def compose_state(project: str) -> str:
    """A table of a project's containers, for a person."""
    table = "table {{.Names}}\t{{.Image}}\t{{.Status}}\t{{.Ports}}"
    chosen = f"label=com.docker.compose.project={project}"
    return try_docker("ps", "--all", "--filter", chosen, "--format", table).stdout


def remove_all_of(name: str) -> None:
    """Take away all that a clone of that PROJECT_NAME has: containers, networks, volumes, images.

    Each kind is listed once, for both modes: a call of docker costs as much as what it says.
    """
    for listed, how in (
        (("ps", "--all", "--format", "{{.ID}}"), ("rm", "--force", "--volumes")),
        (("network", "ls", "--format", "{{.ID}}"), ("network", "rm")),
        (("volume", "ls", "--format", "{{.Name}}"), ("volume", "rm", "--force")),
    ):
        *words, item = listed
        lines = try_docker(*words, f"{item} {PROJECT}").stdout.splitlines()
        pairs = (line.partition(" ") for line in lines)
        # A volume that Docker itself made has its name alone.
        _remove(how, [one for one, _, project in pairs if f"{name}-" in f"{one} {project}"])
    images = try_docker("image", "ls", "--filter", f"reference={name}-*", "--format", IMAGE).stdout
    _remove(("image", "rm", "--force"), images.split())
    for mode in ("prod", "dev"):  # what was built and replaced has no name
        label = f"label=com.docker.compose.project={name}-{mode}"
        unnamed = try_docker("image", "ls", "--all", "--quiet", "--filter", label).stdout
        _remove(("image", "rm", "--force"), unnamed.split())


def _remove(how: tuple[str, ...], found: list[str]) -> None:
    if found:
        try_docker(*how, *sorted(set(found)), seconds=300)
