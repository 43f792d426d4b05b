"""A clone of the project with a name and ports of its own, used as a person uses it: by run.sh."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from shell.machine import PORT_KEYS, PROJECT, copy_of_the_project

from embedded_postgres.locks import try_hold

from .engine import Container, compose_state, containers, docker, remove_all_of
from .runs import PATIENCE, Run, TimedResult
from .visitor import Visitor
from .waiting import uninterrupted

IS_ROOT = os.geteuid() == 0
GIT = ("git", "-c", "safe.directory=*", "-c", "user.name=Test", "-c", "user.email=test@example.com")
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
# Below the range that the kernel takes ports from by itself (32768 and up on Linux).
PORTS = range(20000, 32000)


@dataclass
class Clone:
    """One clone, below a folder of its own that goes with it."""

    root: Path
    name: str
    environment: dict[str, str] = field(repr=False)
    run_as: int | None = None  # run.sh itself is run by this user
    runs: list[Run] = field(default_factory=list, repr=False)
    failed: list[str] = field(default_factory=list, repr=False)  # starts that did not go well
    used: float = 0.0  # when it was used last; the report of a failure looks at that

    def run(self, *arguments: str, ok: bool = True, **environment: str) -> TimedResult:
        """Run `sh run.sh ARGUMENTS` to its end. Fails if it fails, unless `ok` is false."""
        run = self.start(*arguments, **environment)
        try:
            result = run.wait()
        finally:
            run.remove()
        assert result.status == 0 or not ok, f"should have gone well:\n{result}"
        return result

    def bring_up(self, mode: str) -> None:
        """Start a mode (-0, -1) for a fixture. What has failed twice is not tried a third time."""
        assert self.failed.count(mode) < 2, f"{mode} does not start: see the failures above"
        try:
            self.run(mode)
        except AssertionError:
            self.failed.append(mode)
            raise

    def start(self, *arguments: str, **environment: str) -> Run:
        """Start `sh run.sh ARGUMENTS`; the clone sees to its end, if the test does not."""
        self.used = time.monotonic()
        transcripts = self.root.parent / "transcripts"
        transcripts.mkdir(exist_ok=True)
        run = Run(
            [*self.as_owner_if_asked(), "sh", "run.sh", *arguments],
            self.root,
            {**self.environment, **environment},
            transcripts / f"{len(self.runs):03}",
        )
        self.runs.append(run)
        return run

    def as_owner_if_asked(self) -> list[str]:
        """What to put before a command so that it runs as the user of this clone."""
        return _as_user(self.run_as) if self.run_as is not None and IS_ROOT else []

    # --- What stands in it ---

    def write(self, path: str, text: str, *, add: bool = False) -> None:
        """Write a file, or add to one; it belongs to the owner of the clone."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("a" if add else "w") as file:
            file.write(text)
        if IS_ROOT:
            owner = self.root.stat()
            os.chown(target, owner.st_uid, owner.st_gid)

    def replace(self, path: str, old: str, new: str) -> None:
        """Change one place of a file, which must be there."""
        text = (self.root / path).read_text()
        assert text.count(old) == 1, f"{path} has {old!r} {text.count(old)} times"
        self.write(path, text.replace(old, new))

    def set_in_env(self, **values: str) -> None:
        """Change lines of .env, or add them."""
        lines = (self.root / ".env").read_text().splitlines()
        kept = [line for line in lines if line.split("=", 1)[0] not in values]
        self.write(".env", "\n".join([*kept, *(f"{k}={v}" for k, v in values.items())]) + "\n")

    def env(self) -> dict[str, str]:
        """The KEY=VALUE lines of .env."""
        lines = (self.root / ".env").read_text().splitlines()
        pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
        return dict(pairs)

    def git(self, *arguments: str) -> str:
        """Run git in it as its owner, and return what it printed."""
        return _git(self.root, *arguments)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Whatever happens to its files inside, afterwards they are as they were committed."""
        env_file = self.root / ".env"
        env = env_file.read_text() if env_file.exists() else None
        try:
            yield
        finally:
            self.git("checkout", "--quiet", "--", ".")
            self.git("clean", "--quiet", "--force", "-d")
            if env is not None and env_file.read_text() != env:
                self.write(".env", env)

    # --- What runs ---

    def project(self, mode: str) -> str:
        """The name of a Compose project of it; `mode` is prod or dev."""
        return f"{self.name}-{mode}"

    def containers(self, mode: str, *, running: bool = False) -> dict[str, Container]:
        """Its containers in a mode, by service."""
        self.used = time.monotonic()
        return containers(self.project(mode), running=running)

    def runs_in(self, mode: str) -> set[str]:
        """The services that run in a mode."""
        return set(self.containers(mode, running=True))

    def live(self) -> str:
        """The colour that serves: web-blue or web-green."""
        return (self.root / ".postdo/live" / self.name / "upstream").read_text()

    def visitor(self, port: str) -> Visitor:
        """A browser at one of the ports (HTTP_PORT, DEV_PORT, LOCAL_PORT, PGADMIN_PORT)."""
        self.used = time.monotonic()
        return Visitor(f"http://localhost:{self.environment[port]}")

    def admin(self, port: str) -> Visitor:
        """The same, logged in as the superuser."""
        visitor = self.visitor(port)
        env = self.env()
        visitor.log_in(env["DJANGO_SUPERUSER_EMAIL"], env["DJANGO_SUPERUSER_PASSWORD"])
        return visitor

    def query(self, mode: str, sql: str) -> str:
        """What a query gives, by psql in the container of the database."""
        env = self.env()
        login = ("-U", env["POSTGRES_USER"], "-d", env["POSTGRES_DB"])
        return self.containers(mode)["db"].run("psql", *login, "-qAtc", sql).strip()

    def compose(self, mode: str, *arguments: str) -> str:
        """Docker Compose on a mode, for what run.sh has no word for."""
        files = ("-f", "docker-compose.yml", "-f", f"docker-compose.{mode}.yml")
        return docker(
            *("compose", "--project-directory", str(self.root), "-p", self.project(mode)),
            *(part if part == "-f" else str(self.root / part) for part in files),
            *arguments,
            seconds=PATIENCE,
            environment={**self.environment, "POSTDO_RUN": "yes"},
        )

    # --- The end, and the report ---

    def report(self) -> str:
        """What a person needs to see why something failed."""
        parts = [f"{self.root} (while the test ran)"]
        for run in self.runs[-3:]:
            last = "\n".join(run.text.splitlines()[-25:])
            status = run.process.poll()
            parts.append(f"$ {run.command}   [{'at work' if status is None else status}]\n{last}")
        for mode in ("prod", "dev"):
            found = containers(self.project(mode)) if shutil.which("docker") else {}
            if found:
                parts.append(compose_state(self.project(mode)))
            for service, container in found.items():
                parts.append(f"--- {self.project(mode)} {service}\n{container.log(12)}")
        return "\n".join(parts)

    def remove(self) -> None:
        """Take everything away: processes, containers, volumes, images, files."""
        with uninterrupted():
            for run in self.runs:
                run.remove()
            if shutil.which("docker"):
                remove_all_of(self.name)
            shutil.rmtree(self.root.parent, ignore_errors=True)


def make_origin(folder: Path, prepare: Callable[[Path], object] = lambda _: None) -> None:
    """A repository with the project's files as they stand here, committed or about to be.

    `prepare`: what is done to them first.
    """
    copy_of_the_project(folder)
    prepare(folder)
    _git(folder, "init", "--quiet")
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "The project")


def make_clone(origin: Path, *, owner: int | None = None, open_folder: bool = True) -> Clone:
    """A clean clone of it, as `git clone` makes one. `owner`: whose it is, if we may choose.

    `open_folder`: other users can reach it; otherwise it is as below a home that is 0700.
    """
    folder = Path(tempfile.mkdtemp(prefix="postdo-stack-"))
    folder.chmod(0o755 if open_folder else 0o700)
    root = folder / "clone"
    subprocess.run([*GIT, "clone", "--quiet", "--no-hardlinks", origin, root], check=True)
    if owner is not None and IS_ROOT:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner, owner, follow_symlinks=False)
    name = f"postdo-stack-{os.getpid()}-{folder.name[-8:].lower().replace('_', 'x')}"
    ports = {key: str(_free_port()) for key in PORT_KEYS}
    # The watch after a switch has a test of its own; it would cost every other one half a minute.
    # And old images: all clones have one build cache, in which each would look for what is old.
    own = {"PROJECT_NAME": name, "WATCH_SECONDS": "0", "KEEP_RELEASES": "1000"}
    # The archive has a test of its own too; each other clone would take a base backup for nothing.
    own["PITR"] = "off"
    return Clone(root, name, {**_surroundings(), **own, "LC_ALL": "C.UTF-8", **ports})


def _surroundings() -> dict[str, str]:
    """Our own environment, without what the kit or the project would read."""
    known = (PROJECT / ".env.example").read_text()
    others = ("DATABASE_URL", "DJANGO_SETTINGS_MODULE", "POSTDO_MODE", "PYTHONPATH")
    return {
        name: value
        for name, value in os.environ.items()
        if f"\n{name}=" not in known and name not in others
    }


def _git(root: Path, *arguments: str) -> str:
    owner = root.stat().st_uid
    become = _as_user(owner) if IS_ROOT and owner != 0 else []
    command = [*become, *GIT, "-C", str(root), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stderr}"
    return done.stdout.strip()


def _as_user(user: int) -> list[str]:
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]


_taken: dict[int, int] = {}  # and the lock on each, which ends with this process


def _free_port() -> int:
    """A port on which nothing listens, never the same twice, and of no other run of the tests."""
    folder = Path(tempfile.gettempdir()) / f"postdo-test-ports-{os.geteuid()}"
    folder.mkdir(exist_ok=True)
    while True:
        port = random.choice(PORTS)  # noqa: S311 - no secret
        if port in _taken or (lock := try_hold(folder / str(port))) is None:
            continue
        _taken[port] = lock
        try:
            socket.create_server(("", port)).close()
        except OSError:
            continue
        return port
