"""The container of the database alone: the kit's own start and scripts, without a site."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shell.machine import PROJECT
from waiting import until

from .engine import docker, try_docker

# As in volumes of older kits. And the stand-in for 18 (.ci/images/postgres18) has neither ICU nor
# the extensions that tests use.
IMAGE = "postgres:17"
SUPERUSER = "postdo_superuser"
PASSWORD = "a-password-of-the-site"


@dataclass
class Server:
    """A container of the database, with a volume of its own."""

    name: str
    folder: Path  # a copy of db/, for tests to change
    image: str = IMAGE

    def start(self, *, older: bool = False, role: str = "site") -> None:
        """As the kit starts it; ``older``: as it did when the site's role was the superuser."""
        words = [
            *("run", "--detach", "--name", self.name, "--tmpfs", "/run/postdo"),
            *("--volume", f"{self.name}:/var/lib/postgresql/data"),
            *("--volume", f"{self.folder}:/etc/postdo:ro"),
            *("--env", "POSTGRES_DB=shop"),
        ]
        if older:
            login = ("-e", f"POSTGRES_USER={role}", "-e", f"POSTGRES_PASSWORD={PASSWORD}")
            docker(*words, *login, self.image)
        else:
            docker(
                *words,
                *("--volume", f"{self.folder}/init:/docker-entrypoint-initdb.d:ro"),
                *("--env", f"POSTGRES_USER={SUPERUSER}", "--env", f"POSTDO_SITE_ROLE={role}"),
                *("--env", "POSTGRES_MAX_CONNECTIONS=50"),
                *("--entrypoint", "sh", self.image, "/etc/postdo/start.sh"),
            )

    def remove(self) -> None:
        """The container; the volume stays."""
        docker("rm", "--force", self.name)

    def wait(self) -> None:
        """Until it lets clients in."""
        ready = ("exec", self.name, "pg_isready", "-q", "-h", "127.0.0.1")
        until(lambda: try_docker(*ready).returncode == 0, f"{self.name} lets clients in")

    def query(self, role: str, sql: str, database: str = "shop") -> str:
        """What psql prints, run as that role."""
        return docker(*self._psql(role, database), sql).strip()

    def refusal(self, role: str, sql: str, database: str = "shop") -> str:
        """What PostgreSQL says to a statement that fails."""
        done = try_docker(*self._psql(role, database), sql)
        assert done.returncode, done.stdout
        return done.stderr

    def lets_in(self, role: str, password: str) -> bool:
        """Whether the role can log in from elsewhere, where a password counts."""
        there = f'PGPASSWORD={password} psql -h "$(hostname -i)" -U {role} -d shop -c "SELECT 1"'
        return try_docker("exec", self.name, "sh", "-c", there).returncode == 0

    def roles(self, *arguments: str, given: str = PASSWORD) -> subprocess.CompletedProcess[str]:
        """Run db/roles.sh as the kit does."""
        return subprocess.run(
            [
                *("docker", "exec", "-i", "-u", "postgres", self.name),
                *("sh", "/etc/postdo/roles.sh"),
                *arguments,
            ],
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def settle(self, *, rights: str = "NOCREATEDB", extensions: str = "") -> str:
        """``roles.sh settle``, which has to go well; what it said."""
        done = self.roles("settle", "site", "shop", rights, extensions)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _psql(self, role: str, database: str) -> list[str]:
        words = ["psql", "-h", "127.0.0.1", "-U", role, "-d", database, "-XqAtc"]
        return ["exec", self.name, *words]


@contextmanager
def database_server(work: Path, image: str = IMAGE) -> Iterator[Server]:
    """One with a volume of its own, not started; gone at the end."""
    folder = work / "db"
    shutil.copytree(PROJECT / "db", folder)
    for path in (work, folder, *folder.rglob("*")):
        path.chmod(0o755)
    one = Server(f"postdo-test-{secrets.token_hex(4)}", folder, image)
    try:
        yield one
    finally:
        try_docker("rm", "--force", "--volumes", one.name)
        try_docker("volume", "rm", one.name)
