"""`python3 -m bench archive`: what does the archive for points in time cost each write?

A database with the settings of production, in which pgbench inserts one row after another, each in
a transaction of its own: without an archive, with one, and with PITR_SYNC=on. They take turns.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from bench.process import BenchError, run, undisturbed

DB = Path(__file__).resolve().parents[1] / "db"
SUPERUSER = "postdo_superuser"
MODES = ("no archive", "archive", "PITR_SYNC=on")
TABLE = "CREATE TABLE written (id bigserial PRIMARY KEY, at timestamptz DEFAULT now(), text text)"
INSERT = "INSERT INTO written (text) VALUES (repeat('x', 200));\n"
FOUND = re.compile(r"latency average = ([0-9.]+) ms.*^tps = ([0-9.]+)", re.MULTILINE | re.DOTALL)
PATIENCE = 60.0  # seconds until the server is up, until the archive receives


@dataclass(frozen=True)
class Server:
    """A database, and the folder and the network of its archive; named after this process."""

    name: str
    image: str
    folder: Path

    def start(self) -> None:
        """Start the database as docker-compose.yml does, and make the table."""
        settings = {
            "PGDATA": "/var/lib/postgresql/data",
            "POSTGRES_USER": SUPERUSER,
            "POSTDO_SITE_ROLE": "site",
            "POSTGRES_DB": "site",
            "POSTGRES_MAX_CONNECTIONS": "100",
        }
        run(["docker", "network", "create", "--internal", self.name])
        run(
            [
                *("docker", "run", "--detach", "--name", self.name, "--network", self.name),
                *(word for pair in settings.items() for word in ("--env", "=".join(pair))),
                *("--network-alias", "db", "--shm-size", "1g", "--volume", f"{DB}:/etc/postdo:ro"),
                *("--volume", f"{DB}/init:/docker-entrypoint-initdb.d:ro"),
                *("--volume", "/var/lib/postgresql/data", "--tmpfs", "/run/postdo:size=1m"),
                *("--tmpfs", "/var/lib/postgresql:size=1m,mode=755", "--entrypoint", "sh"),
                *(self.image, "/etc/postdo/start.sh"),
            ]
        )
        wait(lambda: self.inside("sh", "/etc/postdo/healthy.sh"), "the database")
        self.query(TABLE)
        self.inside("sh", "-c", f'printf "%s" "{INSERT}" >/tmp/insert.sql')

    def become(self, mode: str) -> None:
        """Begin or end the archive, and wait until it is so."""
        self.inside("sh", "/etc/postdo/roles.sh", "archive-off", "site", user="postgres")
        run(["docker", "rm", "--force", f"{self.name}-archive"])
        if mode == "no archive":
            return
        sync = "on" if mode == "PITR_SYNC=on" else "off"
        roles = f"printf secret | sh /etc/postdo/roles.sh archive site {sync}"
        self.inside("sh", "-c", roles, user="postgres")
        owner = self.folder.stat()
        settings = {"PGHOST": "db", "PGUSER": "postdo_archive", "PGPASSWORD": "secret"}
        settings |= {"PITR_DAYS": "7", "PITR_SYNC": sync}
        run(
            [
                *("docker", "run", "--detach", "--name", f"{self.name}-archive"),
                *("--network", self.name, "--user", f"{owner.st_uid}:{owner.st_gid}"),
                *(word for pair in settings.items() for word in ("--env", "=".join(pair))),
                *("--memory", "96m", "--volume", f"{DB}:/etc/postdo:ro"),
                *("--volume", f"{self.folder}:/archive", "--entrypoint", "sh"),
                *(self.image, "/etc/postdo/archive.sh", "run"),
            ]
        )
        wait(lambda: self.is_ready(waits=sync == "on"), "the archive")

    def is_ready(self, *, waits: bool) -> None:
        """Raise unless it receives, has its base backup, and commits wait for it if they should."""
        self.inside("sh", "/etc/postdo/healthy.sh")
        said = self.query(
            "SELECT count(*), current_setting('synchronous_standby_names') "
            "FROM pg_stat_replication WHERE state = 'streaming'"
        )
        if said != ("1|postdo_archive" if waits else "1|"):
            raise BenchError(f"the archive is not ready: {said}", "docker logs")

    def write(self, clients: int, seconds: int) -> tuple[float, float]:
        """Insert rows for so long; milliseconds for each, and rows a second."""
        said = self.inside(
            *("pgbench", "-n", "-U", SUPERUSER, "-f", "/tmp/insert.sql"),  # noqa: S108 - its own
            *("-c", str(clients), "-j", str(min(clients, os.cpu_count() or 1))),
            *("-T", str(seconds), "site"),
        )
        found = FOUND.search(said)
        if not found:
            raise BenchError(f"pgbench says something else: {said}", "run it by hand")
        return float(found[1]), float(found[2])

    def query(self, sql: str) -> str:
        """Return what psql prints."""
        return self.inside("psql", "-XqAt", "-U", SUPERUSER, "-d", "site", "-c", sql).strip()

    def inside(self, *command: str, user: str = "root") -> str:
        """Run a program in the container of the database."""
        return run(["docker", "exec", "--user", user, self.name, *command])

    def remove(self) -> None:
        """Remove everything, also what was only begun."""
        with undisturbed():
            for name in (f"{self.name}-archive", self.name):
                run(["docker", "rm", "--force", "--volumes", name])
            run(["sh", "-c", f"docker network rm {self.name} 2>/dev/null || true"])


def wait(ready: object, what: str) -> None:
    """Try until it raises no error."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            ready()  # type: ignore[operator]
        except BenchError as error:
            if time.monotonic() > end:
                raise BenchError(f"waited in vain for {what}: {error}", error.remedy) from error
            time.sleep(0.5)
        else:
            return


@contextmanager
def server(image: str) -> Iterator[Server]:
    """A server, and its archive in the clone: on the disk on which it would be."""
    machine.require_engine()
    parent = Path(__file__).resolve().parents[1] / ".postdo"
    parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-archive-", dir=parent) as folder:
        one = Server(f"bench-{os.getpid()}-archive", image, Path(folder))
        try:
            one.start()
            yield one
        finally:
            one.remove()


def main(words: list[str]) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python3 -m bench archive", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement; default 3")
    parser.add_argument("--seconds", type=int, default=10, help="of each round; default 10")
    parser.add_argument("--clients", default="1,8", help="that write at once; default 1,8")
    parser.add_argument("--image", default="postgres:18", help="default postgres:18")
    options = parser.parse_args(words)
    counts = [int(word) for word in options.clients.split(",")]
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with server(options.image) as one:
        for _ in range(options.rounds):
            for mode in MODES:
                one.become(mode)
                for count in counts:
                    sample = one.write(count, options.seconds)
                    found.setdefault((mode, count), []).append(sample)
    print("| | clients | ms a row | rows a second |\n| --- | --- | --- | --- |")
    for (mode, count), samples in found.items():
        times, rates = zip(*samples, strict=True)
        time_and_rate = f"{statistics.median(times):.2f} | {statistics.median(rates):.0f}"
        print(f"| {mode} | {count} | {time_and_rate} |")
    return 0
