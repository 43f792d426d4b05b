"""Two servers of two majors, and db/upgrade.sh between them, as in the containers of a volume."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from embedded_postgres import Application, Cluster, temporary_cluster
from embedded_postgres.application import OWNER
from embedded_postgres.binaries import available

PROJECT = Path(__file__).parents[1]
EVERYBODY = "local all all trust\nhost all all 127.0.0.1/32 trust\n"
ODD = "it's \\ odd"
FILL = f"""
CREATE ROLE site LOGIN PASSWORD 'secret';
CREATE DATABASE shop OWNER site;
ALTER DATABASE shop SET lock_timeout = '7s';
CREATE DATABASE "{ODD}";
"""


@dataclass
class Pair:
    """An older server with data, and a newer one with nothing."""

    live: Cluster
    other: Cluster

    def query(self, cluster: Cluster, sql: str, database: str = "postgres") -> str:
        done = subprocess.run(
            [self.other.psql(), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql],
            env=self.surroundings() | {"PGPORT": port(cluster)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def upgrade(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run db/upgrade.sh, with the programs of the server in whose container it is run."""
        of_live = words[0] in {"copy", "definitions"}
        programs = Path((self.live if of_live else self.other).psql()).parent
        return subprocess.run(
            ["sh", str(PROJECT / "db/upgrade.sh"), words[0], OWNER, *words[1:]],
            env=self.surroundings(programs),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def surroundings(self, programs: Path | None = None) -> dict[str, str]:
        return {
            "PATH": f"{programs or Path(self.other.psql()).parent}{os.pathsep}{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGUSER": OWNER,
            "POSTDO_LIVE_PORT": port(self.live),
            "POSTDO_OTHER_PORT": port(self.other),
            "POSTGRES_DB": "shop",
        }


def port(cluster: Cluster) -> str:
    return str(cluster.connection().port)


@contextmanager
def two_majors() -> Iterator[Pair]:
    """An older server with databases, and a newer one with nothing."""
    majors = {
        source: [found.major for found in available(source)] for source in ("system", "wheel")
    }
    if not majors["system"] or not majors["wheel"] or majors["system"][0] >= majors["wheel"][0]:
        pytest.skip(f"no two majors of PostgreSQL here, the older one of the system: {majors}")
    with temporary_cluster("system") as live, temporary_cluster("wheel") as other:
        both = Pair(live, other)
        for cluster in (live, other):
            with (cluster.layout.data / "postgresql.auto.conf").open("a") as settings:
                settings.write("wal_level = logical\n")
            connection = cluster.connection()
            cluster.stop()
            (cluster.layout.data / "pg_hba.conf").write_text(EVERYBODY)
            cluster.start(connection.port, Application("tester", "tester", "x", superuser=True))
        # What the embedded server has made for itself; the kit's new cluster has nothing.
        both.query(other, "DROP DATABASE tester")
        both.query(other, "DROP ROLE tester")
        for statement in FILL.strip().split(";\n"):
            both.query(live, statement)
        yield both
