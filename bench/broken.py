"""The faults of `python3 -m bench under-fault`: how each is made, and how it ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench import engine
from bench.process import LONGEST, BenchError, run, undisturbed
from bench.release_runs import ReleasedSite

DATABASE_MB, BACKUPS_MB, STATE_MB = 700, 4000, 96  # the archive takes no less of its disk
OVERRIDE = """\
# For the bench: the database on a small disk of its own.
volumes:
  prod-data:
    driver: local
    driver_opts: {{type: none, o: bind, device: "{folder}"}}
"""
ALERT = """\
#!/bin/sh
case $POSTDO_SUBJECT in *": over: "*) ;; *) printf '%s\\n' "$POSTDO_SUBJECT" >>'{path}' ;; esac
"""
BALLAST = "ballast"
BLOCK = 4096
HOG_MB = 8  # more than a container has now; its memory is limited to that
WITHOUT_LIMIT = "1t"


class Disk:
    """A small ext4 file system in a file, mounted in a folder. Needs root."""

    def __init__(self, image: Path, folder: Path, megabytes: int) -> None:
        """Make and mount it; what the folder has already is moved to it."""
        self.image, self.folder = image, folder
        run(["truncate", "--size", f"{megabytes}M", str(image)])
        run(["mkfs.ext4", "-q", "-m", "0", str(image)])
        folder.mkdir(exist_ok=True)
        self.mount()

    def mount(self) -> None:
        """As at a boot: its journal is replayed."""
        run(["mount", "-o", "loop", str(self.image), str(self.folder)])

    def unmount(self) -> None:
        """Also while something has just ended that used it."""
        deadline = time.monotonic() + 30
        while True:
            try:
                run(["umount", str(self.folder)])
            except BenchError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    def fill(self) -> None:
        """To the last block."""
        with (self.folder / BALLAST).open("wb") as file:
            size, more = 0, 1 << 30
            while more >= BLOCK:
                try:
                    os.posix_fallocate(file.fileno(), size, more)
                    size += more
                except OSError:
                    more //= 2

    def empty(self) -> None:
        """Make room again."""
        (self.folder / BALLAST).unlink(missing_ok=True)

    def make_read_only(self) -> None:
        """As the kernel does it when the device fails."""
        run(["mount", "-o", "remount,abort", str(self.folder)])

    def lose_what_is_unwritten(self) -> None:
        """Have what the device had, and nothing of what was only in memory; nothing may use it."""
        had = self.image.with_suffix(".had")
        shutil.copyfile(self.image, had)
        self.unmount()
        had.replace(self.image)
        self.mount()

    def remove(self) -> None:
        """Unmount it, if it is mounted."""
        subprocess.run(["umount", "--lazy", self.folder], capture_output=True, check=False)
        self.image.unlink(missing_ok=True)


class BrokenSite(ReleasedSite):
    """The released site, with small disks (if root makes them), and somebody who is told."""

    def __init__(self, name: str, folder: Path, *, disks: bool) -> None:
        """Make the clone and the disks; nothing is started."""
        super().__init__(name, folder, 0)
        scratch = folder.parent
        # What this machine is short of is not what is looked for.
        limits = "disk_mb=0 disk_hours=0 image_days=0 memory_percent=0 errors_percent=0"
        self.environment |= {
            "ALERT_LIMITS": f"{limits} slow_percent=0 logins=0",
            "PITR": "on",
            "BACKUP_AT": "",
            "SCHEDULE_CLEARSESSIONS": "",
        }
        self.has_power = threading.Event()  # else the machine, and its timer, is off
        self.has_power.set()
        self.told = scratch / "told"
        self.told.touch()
        hook = folder / "hooks" / "alert"
        hook.write_text(ALERT.format(path=self.told), encoding="utf-8")
        hook.chmod(0o755)
        self.disks: dict[str, Disk] = {}
        if disks:
            for name_, where, megabytes in (
                ("database", scratch / "database", DATABASE_MB),
                ("backups", folder / "backups", BACKUPS_MB),
                ("state", folder / ".postdo", STATE_MB),
            ):
                self.disks[name_] = Disk(scratch / f"{name_}.img", where, megabytes)
            data = scratch / "database" / "data"
            data.mkdir()
            override = folder / "docker-compose.override.yml"
            override.write_text(OVERRIDE.format(folder=data), encoding="utf-8")

    def container(self, service: str) -> str:
        """Its id; of `web`, the one that serves."""
        return engine.container(self.name, self.live() if service == "web" else service)

    def live(self) -> str:
        """The service that serves, web-blue or web-green."""
        folder = self.folder / ".postdo" / "live" / self.environment["PROJECT_NAME"]
        return (folder / "upstream").read_text(encoding="utf-8").strip()

    def containers(self) -> list[str]:
        """Those that run."""
        label = f"label=com.docker.compose.project={self.name}"
        return engine.listed("ps", "--quiet", "--filter", label)

    def is_well(self) -> bool:
        """Whether everything that serves runs, and is healthy where it can tell."""
        form = "{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}"
        with suppress(BenchError):
            ids = [self.container(one) for one in ("db", "web", "proxy")]
            states = run(["docker", "inspect", "--format", form, *ids]).splitlines()
            return all(state == "running healthy" for state in states)
        return False

    def remove(self) -> None:
        """Everything, and the disks last."""
        try:
            super().remove()
        finally:
            with undisturbed():
                for disk in self.disks.values():
                    disk.remove()


@dataclass(frozen=True)
class Fault:
    """What breaks.

    title: in the table. seconds: how long it lasts; 0: it is over as soon as it is there.
    begin, end: make it and end it. needs: a disk of the site.
    """

    title: str
    begin: Callable[[BrokenSite], None]
    end: Callable[[BrokenSite], None] = lambda _: None
    seconds: float = 0.0
    needs: str = ""


def killed(service: str) -> Fault:
    """One container, as by kill -9."""
    return Fault(
        f"`{service}` is killed", lambda site: quiet("docker", "kill", site.container(service))
    )


def cut_the_power(site: BrokenSite) -> None:
    """Everything ends at once; the database's disk has what was written out to it."""
    site.has_power.clear()
    for one in list(site.runs):
        one.kill()
    running = site.containers()
    quiet("docker", "kill", *running)
    if "database" in site.disks:
        deadline = time.monotonic() + LONGEST
        while site.containers() and time.monotonic() < deadline:
            time.sleep(0.1)
        site.disks["database"].lose_what_is_unwritten()


def boot(site: BrokenSite) -> None:
    """What the service's unit does when the machine starts."""
    booted = site.begin("-0", "--no-build")
    site.has_power.set()
    if booted.wait() != 0:
        raise booted.error(f"failed with status {booted.process.returncode}")


def pause(site: BrokenSite) -> None:
    """The database is there, and answers nobody."""
    signal_all(site.container("db"), "STOP")


def resume(site: BrokenSite) -> None:
    """It answers again."""
    signal_all(site.container("db"), "CONT")


def signal_all(identity: str, name: str) -> None:
    """Send a signal to every process of a container; `docker pause` needs a cgroup for that."""
    quiet("docker", "kill", "--signal", name, identity)  # the first one, whom no other may stop
    image = run(["docker", "inspect", "--format", "{{.Config.Image}}", identity]).strip()
    beside = ("--pid", f"container:{identity}", "--user", "0", "--entrypoint", "sh")
    quiet("docker", "run", "--rm", *beside, image, "-c", f"kill -{name} -1")


def cut_the_network(site: BrokenSite) -> None:
    """Between the site and its database."""
    quiet("docker", "network", "disconnect", f"{site.name}_backend", site.container("web"))


def join_the_network(site: BrokenSite) -> None:
    """As it was."""
    alias = ("--alias", site.live())
    quiet("docker", "network", "connect", *alias, f"{site.name}_backend", site.container("web"))


def full(title: str, name: str) -> Fault:
    """A disk has no room left, and then has again."""
    return Fault(
        f"the disk of {title} is full",
        lambda site: site.disks[name].fill(),
        lambda site: site.disks[name].empty(),
        seconds=40.0,
        needs=name,
    )


def fill_temporary(site: BrokenSite) -> None:
    """Those of the site's container."""
    fill = "cat /dev/zero >/tmp/ballast"
    quiet("docker", "exec", site.container("web"), "sh", "-c", fill, fails=True)


def empty_temporary(site: BrokenSite) -> None:
    """Make room again, if it is still the same container."""
    quiet("docker", "exec", site.container("web"), "rm", "-f", "/tmp/ballast", fails=True)  # noqa: S108


def fail_the_disk(site: BrokenSite) -> None:
    """The kernel lets nobody write to the database's disk any more."""
    site.disks["database"].make_read_only()


def replace_the_disk(site: BrokenSite) -> None:
    """What an administrator does: stop what uses it, check it, mount it."""
    quiet("docker", "kill", site.container("db"), fails=True)
    disk = site.disks["database"]
    disk.unmount()
    subprocess.run(["e2fsck", "-p", disk.image], capture_output=True, check=False)
    disk.mount()


def short_of_memory(service: str) -> Fault:
    """A container has no more memory than it uses, and something in it wants more."""

    def begin(site: BrokenSite) -> None:
        identity = site.container(service)
        limit = f"{int(engine.memory(identity)) + HOG_MB}m"
        quiet("docker", "update", "--memory", limit, "--memory-swap", limit, identity, fails=True)
        # It keeps all that it has read, since there is no end of a line.
        quiet("docker", "exec", identity, "timeout", "10", "tail", "/dev/zero", fails=True)

    def end(site: BrokenSite) -> None:
        more = ("--memory", WITHOUT_LIMIT, "--memory-swap", WITHOUT_LIMIT)
        quiet("docker", "update", *more, site.container(service), fails=True)

    return Fault(f"`{service}` is at its memory limit", begin, end, seconds=15.0)


def quiet(*argv: str, fails: bool = False) -> None:
    """Run it. `fails`: it may."""
    with suppress(BenchError) if fails else nothing():
        run(argv)


@contextmanager
def nothing() -> Iterator[None]:
    """Let an error through."""
    yield


FAULTS = (
    *(killed(service) for service in ("web", "db", "proxy", "archive")),
    Fault("the power is cut", cut_the_power, boot),
    Fault("the database answers nobody", pause, resume, seconds=30.0),
    Fault("the network between site and database is cut", cut_the_network, join_the_network, 30.0),
    full("the database", "database"),
    full("the backups", "backups"),
    full("the logs and the state", "state"),
    Fault("the temporary files are full", fill_temporary, empty_temporary, seconds=20.0),
    Fault("the database's disk is read-only", fail_the_disk, replace_the_disk, 20.0, "database"),
    *(short_of_memory(service) for service in ("web", "db", "proxy")),
)
