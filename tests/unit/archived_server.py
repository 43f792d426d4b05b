"""A small server and its archive, without Docker: db/archive.sh and db/recover.sh."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from embedded_postgres.ports import free_port
from embedded_postgres.privileges import bare_environment, choose, creator

DB = Path(__file__).parents[2] / "db"
SUPERUSER = "postdo_superuser"
LET_IN = "host replication postdo_archive 127.0.0.1/32 trust\n"
# Small files of WAL, so that there are many. What db/start.sh would write, as far as it counts.
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
shared_buffers = 16MB
max_wal_size = 64MB
min_wal_size = 4MB
log_min_messages = warning
"""


def eventually(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait until it is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"in vain: {what}"
        time.sleep(0.05)


class Site:
    """A server with numbered rows, and the archive of it."""

    def __init__(self, folder: Path, major: int, programs: Path) -> None:
        self.folder, self.major, self.programs = folder, major, programs
        self.archive = folder / "archive"
        self.archive.mkdir()
        self.data = folder / "data"
        self.port, self.recovery_port = free_port(), free_port()
        self.log = folder / "archive.log"
        self._identity = creator(choose(self.data))
        self._server: subprocess.Popen[bytes] | None = None
        self._archiver: subprocess.Popen[bytes] | None = None
        self._identity.give(folder)

    # --- The server ---

    def make(self, settings: str = "") -> None:
        """A new cluster, started, with a database of numbered rows."""
        initdb = ("initdb", "-D", self.data, "-U", SUPERUSER, "-A", "trust", "--wal-segsize=1")
        self._run(*initdb, "-N", "--no-instructions").check_returncode()
        own = f"port = {self.port}\nsummarize_wal = on\n" if self.major >= 17 else ""
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"{SETTINGS}port = {self.port}\n{own}{settings}")
        with (self.data / "pg_hba.conf").open("a") as file:
            file.write(LET_IN)
        self.start()
        self.sql("CREATE ROLE postdo_archive LOGIN REPLICATION", "postgres")
        self.sql("CREATE DATABASE shop", "postgres")
        self.sql("CREATE TABLE item (number int PRIMARY KEY)")

    def start(self) -> None:
        self._server = self._begin("postgres", "-D", str(self.data), log=self.folder / "server.log")
        ready = ("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port))
        eventually(lambda: self._run(*ready).returncode == 0, "the server to start")

    def stop(self) -> None:
        """As Docker stops it: fast."""
        stop = ("pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "stop")
        self._run(*stop).check_returncode()
        self._server = None

    def kill(self) -> None:
        """As a power failure does."""
        pid = (self.data / "postmaster.pid").read_text().split()[0]
        # Not by kill(1): Debian's takes "-s KILL -123" for -1, which is every process.
        with suppress(ProcessLookupError):
            os.killpg(int(pid), signal.SIGKILL)
        if self._server:
            self._server.kill()
            self._server.wait()
        eventually(lambda: self._run("pg_controldata", str(self.data)).returncode == 0, "quiet")
        self._server = None

    def sql(self, statement: str, database: str = "shop", port: int = 0) -> str:
        done = self._run(
            *("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"),
            *("-p", str(port or self.port), "-U", SUPERUSER, "-d", database, "-c", statement),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def insert(self, first: int, last: int) -> None:
        self.sql(f"INSERT INTO item SELECT generate_series({first}, {last})")

    def numbers(self, database: str = "shop") -> list[int]:
        return [int(line) for line in self.sql("SELECT number FROM item", database).split()]

    # --- The archive ---

    def begin(self, **environment: str) -> None:
        """Receive in the background, until `end`."""
        words = ("sh", str(DB / "archive.sh"), "run")
        self._archiver = self._begin(*words, log=self.log, **self._archiving(environment))

    def end(self) -> None:
        """As Docker stops it."""
        if self._archiver:
            self._archiver.terminate()
            self._archiver.wait(30)
            self._archiver = None

    def base(self, *options: str, ok: bool = True, **environment: str) -> dict[str, str]:
        done = self._run(
            "sh", str(DB / "archive.sh"), "base", *options, **self._archiving(environment)
        )
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        return dict(re.findall(r"^(\w+)=(.*)$", done.stdout, re.M))

    def roles(self, *arguments: str, given: str = "") -> None:
        """Run db/roles.sh, as in the container of the database; `given`: a password."""
        own = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGDATA": str(self.data)}
        words = ("sh", "-c", 'printf "%s" "$0" | sh "$@"', given, str(DB / "roles.sh"), *arguments)
        done = self._run(*words, **own, POSTGRES_USER=SUPERUSER)
        assert done.returncode == 0, done.stdout + done.stderr

    def health(self) -> None:
        """The health check, which also decides whether commits wait for the archive."""
        own = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGDATA": str(self.data)}
        own |= {"POSTGRES_USER": SUPERUSER, "POSTGRES_DB": "shop", "POSTDO_AWAY_SECONDS": "0"}
        away = {"POSTDO_AWAY_FILE": str(self.folder / "away")}
        done = self._run("sh", str(DB / "healthy.sh"), **own, **away)
        assert done.returncode == 0, done.stderr

    def state(self) -> str:
        with suppress(FileNotFoundError):
            return (self.archive / "state").read_text()
        return ""

    def receives(self) -> None:
        """Wait until it receives, and has its first base backup."""
        slot = "SELECT count(*) FROM pg_replication_slots WHERE active AND NOT temporary"
        eventually(lambda: self.sql(slot, "postgres") == "1" and bool(self.bases()), "the archive")

    def caught_up(self) -> None:
        """Wait until everything that was written is there."""
        want = "SELECT pg_current_wal_lsn()"
        got = "SELECT coalesce(min(sent_lsn), '0/0') >= '{}'::pg_lsn FROM pg_stat_replication"
        place = self.sql(want, "postgres")
        eventually(
            lambda: self.sql(got.format(place), "postgres") == "t", "the last rows to arrive"
        )

    def sequences(self) -> list[Path]:
        return sorted(path.parent for path in self.archive.glob("*Z/about"))

    def bases(self) -> list[Path]:
        """Of the newest sequence."""
        newest = self.sequences()[-1:]
        return [path.parent for one in newest for path in sorted(one.glob("base/*Z/about"))]

    # --- Recovering ---

    def plan(self, *words: str, ok: bool = True) -> dict[str, str]:
        done = self._run("sh", str(DB / "recover.sh"), "plan", *words, **self._recovering())
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        return dict(re.findall(r"^(\w+)=(.*)$", done.stdout, re.M))

    @contextmanager
    def recovered(self, *words: str) -> Iterator[dict[str, str]]:
        """The recovered server for what `plan` says, at a port of its own; its environment."""
        found = self.plan(*words)
        environment = {
            **self._recovering(),
            **{"SEQUENCE": found["sequence"], "CHAIN": found["chain"], "TARGET": found["target"]},
        }
        log = self.folder / "recovery.log"
        words = ("sh", str(DB / "recover.sh"), "serve")
        server = self._begin(*words, log=log, **environment)
        ready = ("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.recovery_port))
        try:
            end = time.monotonic() + 60
            while self._run(*ready).returncode != 0:
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.05)
            yield environment
        finally:
            server.terminate()
            server.wait(30)
            shutil.rmtree(self.folder / "recovery")

    def hand_over(self, environment: dict[str, str], into: str) -> None:
        self.sql(f"CREATE DATABASE {into}", "postgres")
        done = self._run("sh", str(DB / "recover.sh"), "hand-over", "shop", into, **environment)
        assert done.returncode == 0, done.stdout + done.stderr

    def try_hand_over(self, environment: dict[str, str]) -> str:
        """What it says where it refuses."""
        done = self._run(
            "sh", str(DB / "recover.sh"), "hand-over", "shop", "nothing", **environment
        )
        assert done.returncode != 0
        return done.stdout

    # --- How programs run ---

    def remove(self) -> None:
        self.end()
        if self._server and self._server.poll() is None:
            self.stop()

    def _archiving(self, environment: dict[str, str]) -> dict[str, str]:
        own = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "postdo_archive"}
        own |= {
            "POSTDO_ARCHIVE": str(self.archive),
            "PITR_DAYS": "7",
            "POSTDO_RETRY_SECONDS": "0.2",
        }
        return own | {"POSTDO_LEAST_FREE_MB": "1", "POSTDO_ALIVE_SECONDS": "2"} | environment

    def _recovering(self) -> dict[str, str]:
        data = self.folder / "recovery/data"
        return {
            "POSTDO_ARCHIVE": str(self.archive),
            "PGDATA": str(data),
            "POSTGRES_USER": SUPERUSER,
            "POSTDO_RECOVERY_PORT": str(self.recovery_port),
            "POSTDO_LIVE_PORT": str(self.port),
            "POSTDO_START": f"postgres -D {data}",
        }

    def _prefix(self) -> tuple[str, ...]:
        return self._identity.prefix

    def _environment(self, own: dict[str, str]) -> dict[str, str]:
        path = f"{self.programs}{os.pathsep}{os.environ['PATH']}"
        return bare_environment() | {"PATH": path, "HOME": str(self.folder)} | own

    def _run(self, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._prefix(), *map(str, words)],
            env=self._environment(environment),
            user=self._identity.uid,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def _begin(self, *words: str, log: Path, **environment: str) -> subprocess.Popen[bytes]:
        with log.open("ab") as file:
            return subprocess.Popen(
                [*self._prefix(), *words],
                env=self._environment(environment),
                user=self._identity.uid,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
