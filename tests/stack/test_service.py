"""`sh run.sh service`: production starts with the operating system, for real.

The operating system is a container with systemd and a Docker engine of its own, and without a
network. `docker restart` is its reboot.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import pytest

from .clone import Clone
from .engine import Container, docker, try_docker
from .fixtures import OWNER
from .waiting import eventually

SYSTEM = "postdo-test/systemd"
BOOT_SECONDS = 120
# Told whatever is to be told, beside run.sh.
TELLS = """#!/bin/sh
printf '%s\\n' "$POSTDO_TEXT" >>told
"""
STARTED_AGAIN = "Docker was started again, and visitors get 200 for /readyz"
# Every character that a shell, systemd, sed or Compose would read as something else.
SITE = PurePosixPath("/srv/the 100% $ite")
ADD = "from accounts.models import User; User.objects.create(email='before-the-reboot@example.com')"
WHO = "from accounts.models import User; print(*User.objects.values_list('email', flat=True))"


@dataclass(frozen=True)
class Machine:
    """A machine on which production was started once, on the standard ports."""

    container: Container
    name: str

    @property
    def unit(self) -> str:
        """The unit that the installation writes."""
        return f"/etc/systemd/system/{self.name}.service"

    def run(self, *arguments: str, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Run `sh run.sh ARGUMENTS` on it."""
        command = ("sh", str(SITE / "run.sh"), *arguments)
        return try_docker("exec", "--user", user, self.container.id, *command, seconds=300)

    def site_answers(self) -> bool:
        """Whether the site answers on port 80."""
        ask = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://localhost/readyz")
        return self.container.try_run(*ask).stdout == "200"

    def wait_for_site(self) -> None:
        """Until the site answers; says what the machine says if it does not."""
        try:
            eventually(self.site_answers, "the site, by itself and with no network", BOOT_SECONDS)
        except AssertionError as error:
            unit = self.container.try_run("journalctl", "-b", "-u", f"{self.name}.service")
            running = self.container.try_run("docker", "ps", "-a")
            raise AssertionError(f"{error}\n{unit.stdout}\n{running.stdout}") from error

    def wait_for_boot(self) -> None:
        """Until systemd has started everything."""
        seen = "is-system-running"
        eventually(
            lambda: self.container.try_run("systemctl", seen).stdout.strip() == "running",
            "the machine to be running",
            BOOT_SECONDS,
        )

    def reboot(self) -> None:
        """Shut down in good order and start again."""
        docker("restart", "--time", str(BOOT_SECONDS), self.container.id, seconds=BOOT_SECONDS * 2)
        self.wait_for_boot()

    def told(self, what: str) -> int:
        """How often somebody was told of it, after a look by hand."""
        self.run("-0", "watch")
        return self.container.try_run("cat", str(SITE / "told")).stdout.count(what)

    def logs_of(self, run: str) -> int:
        """How many logs there are of a run of run.sh; `run` is prod or stop-prod."""
        found = self.container.run("find", str(SITE / ".postdo/log"), "-name", f"*-{run}-*.log")
        return sum(f"-stop-{run}-" not in line for line in found.splitlines())


@pytest.fixture(scope="module")
def machine(shared: Clone) -> Iterator[Machine]:
    """A machine with what the shared clone has built: its image, and what it noted of it."""
    if try_docker("image", "inspect", SYSTEM).returncode:
        pytest.skip(f"needs the image {SYSTEM}: sh .ci/machine/images.sh systemd")
    if not shared.visitor("HTTP_PORT").is_up():
        shared.bring_up("-0")
    options = ("--privileged", "--cgroupns", "private", "--tmpfs", "/run", "--tmpfs", "/tmp")  # noqa: S108
    made = docker("run", "-d", *options, "--network", "none", "--name", shared.name, SYSTEM)
    there = Machine(Container(made.strip()), shared.name)
    try:
        there.wait_for_boot()
        install_the_site(shared, there.container)
        yield there
    finally:
        docker("rm", "--force", "--volumes", there.container.id)


def install_the_site(clone: Clone, container: Container) -> None:
    """Bring the images and the clone, as they are on a machine where -0 has run."""
    database = clone.env()["POSTGRES_IMAGE"]
    images = (
        database,
        f"{clone.name}-proxy:live",
        f"{clone.name}-web:{clone.live().removeprefix('web-')}",
    )
    pipe(["docker", "save", *images], container, "docker", "load")
    container.run("mkdir", "-p", str(SITE))
    pack = ["tar", "-C", str(clone.root), "--exclude", "./.postdo/venv", "-c", "."]
    pipe(pack, container, "tar", "-C", str(SITE), "-x")
    # What the tests have in the environment a boot has only in .env; its ports are the standard.
    container.run("sed", "-i", f"s/^PROJECT_NAME=.*/PROJECT_NAME={clone.name}/", str(SITE / ".env"))
    hook = str(SITE / "hooks/alert")
    container.run("sh", "-c", 'printf %s "$1" >"$0" && chmod +x "$0"', hook, TELLS)
    container.run("chown", "-R", f"{OWNER}:{OWNER}", str(SITE))


def pipe(source: list[str], container: Container, *target: str) -> None:
    """From a command here into one in a container."""
    with subprocess.Popen(source, stdout=subprocess.PIPE) as giving:
        taking = ["docker", "exec", "-i", container.id, *target]
        subprocess.run(taking, stdin=giving.stdout, check=True, capture_output=True)
    assert giving.returncode == 0, source


def test_without_systemd_it_says_what_to_do_instead(shared: Clone, machine: Machine) -> None:
    """In a container of the same image that was not booted."""
    mount = f"{shared.root}:/site:ro"
    refused = try_docker(
        "run", "--rm", "-v", mount, SYSTEM, "sh", "/site/run.sh", "service", "install"
    )

    assert refused.returncode == 1
    assert "error: this machine was not booted with systemd" in refused.stderr
    assert (
        "next: make its init system run this at boot: sh /site/run.sh -0 --no-build"
        in refused.stderr
    )


def test_before_the_installation_it_says_so_and_asks_for_root(machine: Machine) -> None:
    not_there = machine.run("service", "status")
    not_root = machine.run("service", "install", user=str(OWNER))

    assert not_there.returncode == 3
    assert f"{machine.name}.service is not installed" in not_there.stderr
    assert not_root.returncode == 1
    assert "only root can" in not_root.stderr
    assert "next: run: sudo sh run.sh service install" in not_root.stderr


def test_the_site_comes_back_after_a_reboot_by_itself_and_with_its_data(machine: Machine) -> None:
    installed = machine.run("service", "install")
    assert installed.returncode == 0, installed
    assert machine.site_answers(), "it is started at once"
    enabled = machine.container.run("systemctl", "is-enabled", f"{machine.name}.service")
    assert enabled == "enabled\n"
    added = machine.run("-0", "manage", "shell", "-c", ADD)
    assert added.returncode == 0, added
    assert machine.container.try_run("getent", "hosts", "registry-1.docker.io").returncode != 0
    starts, stops = machine.logs_of("prod"), machine.logs_of("stop-prod")

    machine.reboot()

    machine.wait_for_site()
    assert machine.logs_of("stop-prod") == stops + 1, "it was stopped in good order"
    assert machine.logs_of("prod") == starts + 1, "the unit has started it, not Docker"
    assert "before-the-reboot@example.com" in machine.run("-0", "manage", "shell", "-c", WHO).stdout
    database = machine.run("-0", "logs", "db").stdout
    assert database.count("database system was shut down at") >= 2, database
    assert "was not properly shut down" not in database
    assert "active (exited)" in machine.run("service", "status").stdout


def test_after_a_kill_of_docker_the_site_comes_back_and_it_is_told(machine: Machine) -> None:
    told = machine.told(STARTED_AGAIN)
    main_pid = ("systemctl", "show", "docker", "--property", "MainPID")
    before = machine.container.run(*main_pid)

    machine.container.run("systemctl", "kill", "--signal", "KILL", "docker")

    eventually(lambda: machine.container.run(*main_pid) != before, "another Docker")
    eventually(lambda: not machine.container.try_run("docker", "ps").returncode, "its answer", 60)
    machine.wait_for_site()
    eventually(lambda: machine.told(STARTED_AGAIN) > told, "somebody is told of it", 120)
    assert machine.told(STARTED_AGAIN) == told + 1


def test_its_timer_runs_the_jobs_that_are_due(machine: Machine) -> None:
    """A moment early: a test does not wait for the minute, and the schedule's last time is set."""
    timer = f"{machine.name}-jobs.timer"
    assert machine.container.run("systemctl", "is-active", timer) == "active\n"
    start = ("systemctl", "start", f"{machine.name}-jobs.service")
    machine.container.run(*start)
    job = str(SITE / ".postdo/jobs/clearsessions")
    machine.container.run("sed", "-i", "s/^counted=.*/counted=1793000000 2026-10-26 06:13/", job)

    machine.container.run(*start)

    jobs = json.loads(machine.run("-0", "status", "--json").stdout)["production"]["jobs"]
    (seen,) = (one for one in jobs if one["name"] == "clearsessions")
    assert (seen["state"], seen["exit"]) == ("done", 0), machine.container.run("cat", job)


def test_its_watch_starts_again_what_is_killed(machine: Machine) -> None:
    timer = f"{machine.name}-watch.timer"
    assert machine.container.run("systemctl", "is-active", timer) == "active\n"
    proxy = f"{machine.name}-prod-proxy-1"
    machine.container.run("docker", "kill", proxy)

    eventually(machine.site_answers, "the site, by the timer alone", 120)

    journal = ("journalctl", "-u", f"{machine.name}-watch.service")
    said = "had stopped (exit code 137) and was started again"
    eventually(lambda: said in machine.container.run(*journal), "it in the journal", 60)


def test_the_units_are_clean(machine: Machine) -> None:
    kinds = ("jobs.service", "jobs.timer", "watch.service", "watch.timer")
    others = [f"/etc/systemd/system/{machine.name}-{kind}" for kind in kinds]
    verified = machine.container.try_run("systemd-analyze", "verify", machine.unit, *others)

    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


def test_remove_takes_the_unit_away_and_leaves_the_site_alone(machine: Machine) -> None:
    removed = machine.run("service", "remove")

    assert removed.returncode == 0, removed
    left = machine.container.run("ls", "/etc/systemd/system").split()
    assert [name for name in left if name.startswith(machine.name)] == []
    assert machine.site_answers()
    assert machine.run("service", "status").returncode == 3
