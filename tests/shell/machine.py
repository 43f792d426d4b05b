"""The machine of the shell tests: shells, a PATH that the test decides, and a clone to run in."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from programs import needed
from results import Result

PROJECT = Path(__file__).resolve().parents[2]
PORT_KEYS = (
    "HTTP_PORT",
    "HTTPS_PORT",
    "DEV_PORT",
    "LOCAL_PORT",
    "PGADMIN_PORT",
    "DEV_DB_PORT",
    "FLOWER_PORT",
    "DEV_FLOWER_PORT",
    "METRICS_PORT",
)
AWKS = ("mawk", "gawk", "original-awk", "busybox")
IS_ROOT = os.geteuid() == 0
NOBODY = 65534
NOT_READ_BY_COMMANDS = ("tests", "bench", "docs", ".ci", ".github", "image")
PATIENCE = 30.0  # seconds after which a test stops waiting; nothing here takes more than two


@dataclass(frozen=True)
class Shell:
    """A shell as `sh`; `folders` go first on the PATH, and the first of them holds it."""

    name: str
    folders: tuple[Path, ...]


class Toolbox:
    """Folders of links, readable by every user: this machine's tools without Docker and Python."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o755)
        self.tools = self._links("tools", _tools())
        python = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
        self.python = self._links("python", {"python3": python})
        self.git = self._links("git", {"git": needed("git")})
        self.env = ""  # of a first start; empty as long as there was none (Clone.has_started)

    def shell(self, name: str) -> Shell:
        """One of the shells that run.sh promises, as `sh` (bash is then in POSIX mode).

        `busybox` has its own tools first, as on a machine that has no others; `ash` is that shell
        with this machine's tools, and `bash-itself` is bash as those call it who type `bash`.
        Skips the test where this machine does not have it.
        """
        program = needed({"ash": "busybox", "bash-itself": "bash"}.get(name, name))
        if name == "busybox":
            folder = self._links("applets", {})
            if not (folder / "sh").exists():
                subprocess.run([program, "--install", "-s", folder], check=True)
        elif name == "bash-itself":
            folder = self._links(f"sh-{name}", {})
            (folder / "sh").write_text(f'#!{program}\nexec {program} "$@"\n')
            (folder / "sh").chmod(0o755)
        else:
            folder = self._links(f"sh-{name}", {"sh": program})
        return Shell(name, (folder,))

    def awks(self) -> dict[str, Path]:
        """The awk programs of this machine: name to program."""
        found = {name: shutil.which(name) for name in AWKS}
        return {
            name: self._links(f"awk-{name}", {"awk": Path(program)}) / "awk"
            for name, program in found.items()
            if program
        }

    def real_docker(self) -> Path | None:
        """A folder with this machine's docker, if it has one."""
        docker = shutil.which("docker")
        return self._links("docker", {"docker": Path(docker)}) if docker else None

    def _links(self, name: str, programs: Mapping[str, Path]) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for link, program in programs.items():
            if not (folder / link).is_symlink():
                (folder / link).symlink_to(program)
        return folder


def _tools() -> dict[str, Path]:
    tools: dict[str, Path] = {}
    for folder in os.get_exec_path():
        if not os.path.isdir(folder):  # noqa: PTH112 - an entry of PATH may be empty
            continue
        for entry in Path(folder).iterdir():
            if not entry.name.startswith(("docker", "python", "pip")):
                tools.setdefault(entry.name, entry)
    return tools


@dataclass
class Clone:
    """A copy of the project's files, and the surroundings in which its run.sh is run."""

    root: Path
    shell: Shell
    toolbox: Toolbox
    environment: dict[str, str] = field(default_factory=dict)
    first: list[Path] = field(default_factory=list)  # folders that precede all others on the PATH
    has_python: bool = True
    user: int | None = None  # run as this user instead of our own

    def run(self, *arguments: str, cwd: Path | None = None, **environment: str) -> Result:
        """Run `sh run.sh ARGUMENTS` to its end, with nothing on its standard input."""
        done = subprocess.run(
            self.argv(*arguments, cwd=cwd),
            cwd=cwd or self.root,
            env=self.surroundings(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
            check=False,
        )
        command = f"{self.shell.name}: sh run.sh {' '.join(arguments)}"
        return Result(command, done.returncode, done.stdout, done.stderr)

    @contextlib.contextmanager
    def start(self, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """`sh run.sh ARGUMENTS` in a process group of its own, of which nothing is left after."""
        run = subprocess.Popen(
            self.argv(*arguments),
            cwd=self.root,
            env=self.surroundings(**environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield run
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
            run.communicate()

    def argv(self, *arguments: str, cwd: Path | None = None) -> list[str]:
        """The command line of run.sh, as another user if there is to be one."""
        script = "run.sh" if cwd is None else str(self.root / "run.sh")
        shell = str(self.shell.folders[0] / "sh")
        become = [
            str(needed("setpriv")),
            f"--reuid={self.user}",
            f"--regid={self.user}",
            "--clear-groups",
        ]
        return [*(become if self.user is not None and IS_ROOT else []), shell, script, *arguments]

    def surroundings(self, **environment: str) -> dict[str, str]:
        """The whole environment of a run: the PATH, and what the clone and the caller set."""
        folders = [*self.first, *self.shell.folders, self.toolbox.tools]
        if self.has_python:
            folders.append(self.toolbox.python)
        path = os.pathsep.join(str(folder) for folder in folders)
        home = str(self.root.parent)
        return {
            "PATH": path,
            "HOME": home,
            "LC_ALL": "C.UTF-8",
            "WATCH_SECONDS": "0",
            **self.environment,
            **environment,
        }

    def add_command(self, name: str, body: str) -> None:
        """A command of the test's own, run and loaded like the kit's: `sh run.sh NAME`."""
        text = f"# commands/{name}.sh: of a test.\n# usage: sh run.sh {name}\n\n{body}\n"
        (self.root / "commands" / f"{name}.sh").write_text(text)

    def first_start(self) -> dict[str, str]:
        """Let run.sh write .env, as the first start does; returns what stands in it."""
        result = self.run("init")
        assert result.status == 0, result
        return self.env()

    def has_started(self) -> None:
        """Let there be a .env of a first start, which is made once for all tests."""
        path = self.root / ".env"
        if not self.toolbox.env:
            self.first_start()
            self.toolbox.env = path.read_text()
        path.write_text(self.toolbox.env)
        path.chmod(0o600)

    def env(self) -> dict[str, str]:
        """The KEY=VALUE lines of .env, as they stand there."""
        lines = (self.root / ".env").read_text().splitlines()
        pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
        return {key: value for key, _, value in pairs}

    def set_in_env(self, **values: str) -> None:
        """Change lines of .env, or add them."""
        path = self.root / ".env"
        kept = [
            line for line in path.read_text().splitlines() if line.split("=", 1)[0] not in values
        ]
        path.write_text(
            "".join(f"{line}\n" for line in [*kept, *(f"{k}={v}" for k, v in values.items())])
        )

    @property
    def state(self) -> Path:
        """The folder of the host's state."""
        return self.root / ".postdo"

    def files(self) -> dict[str, int]:
        """Every file below the clone with its time of change: to see that nothing was touched."""
        return {
            str(path.relative_to(self.root)): 0 if path.is_dir() else path.lstat().st_mtime_ns
            for path in self.root.rglob("*")
        }


def copy_of_the_project(folder: Path) -> None:
    """Copy the project's files, tracked or new but not ignored, to a folder that is not there."""
    folder.mkdir(parents=True)
    for name in _names_of_the_project():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, target)


class ProjectFiles:
    """The project's files, without what no command reads, in memory: every shell test has a copy.

    To write them takes a third of the CPU of copying them.
    """

    def __init__(self) -> None:
        names = _names_of_the_project(NOT_READ_BY_COMMANDS)
        self._files = [
            (name, (PROJECT / name).stat().st_mode & 0o777, (PROJECT / name).read_bytes())
            for name in names
        ]
        parents = {parent for name in names for parent in Path(name).parents}
        self._folders = sorted(parents, key=lambda path: len(path.parts))

    def write_to(self, folder: Path) -> None:
        """Write them to a folder that is not there."""
        for path in self._folders:
            (folder / path).mkdir()
        for name, mode, content in self._files:
            file = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                os.fchmod(file, mode)
                if os.write(file, content) < len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
            finally:
                os.close(file)


def _names_of_the_project(without: Iterable[str] = ()) -> list[str]:
    unread = [f":!{name}" for name in without]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *unread],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # One that was removed is listed until that is committed.
    return [name for name in listed.split("\0") if name and (PROJECT / name).is_file()]


def free_ports(count: int) -> list[int]:
    """Ports of this machine on which nothing listens, each another."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(server.getsockname()[1]) for server in sockets]
    for server in sockets:
        server.close()
    return ports


def start_of(pid: int) -> str:
    """When a process started, in clock ticks since boot."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
