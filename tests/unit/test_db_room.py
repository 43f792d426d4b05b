"""db/room.sh on a real server whose disk, by a `df` of the test, has as much room as that says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from embedded_postgres import Cluster, temporary_cluster
from embedded_postgres.application import OWNER

ROOM = Path(__file__).parents[2] / "db/room.sh"
REFUSED = "cannot execute INSERT in a read-only transaction"
INSERT = "INSERT INTO item VALUES (1)"


@dataclass
class Server:
    """A server, and the folder that stands for its volume."""

    cluster: Cluster
    folder: Path

    @property
    def volume(self) -> Path:
        return self.folder / "volume"

    @property
    def read_only(self) -> Path:
        return self.folder / "read-only.conf"

    @property
    def reserve(self) -> Path:
        return self.volume / "pgsql_tmp_postdo_reserve"

    def surroundings(self) -> dict[str, str]:
        programs = Path(self.cluster.psql()).parent
        return {
            "PATH": os.pathsep.join([str(self.folder / "bin"), str(programs), os.environ["PATH"]]),
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.cluster.connection().port),
            "PGDATA": str(self.volume),
            "POSTGRES_USER": OWNER,
            "PGDATABASE": "postgres",
            "PGUSER": OWNER,
            "POSTDO_READ_ONLY_FILE": str(self.read_only),
        }

    def has_free(self, megabytes: int) -> None:
        self.program("df", f"printf 'disk\\nit 1 1 {megabytes * 1024} 1 /\\n'")

    def program(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def room(self, verb: str) -> None:
        done = subprocess.run(
            ["sh", str(ROOM), verb],
            env=self.surroundings(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def sql(self, *statements: str) -> str:
        """What psql prints, with its errors."""
        words = [word for statement in statements for word in ("-c", statement)]
        done = subprocess.run(
            [self.cluster.psql(), "-XqAt", *words],
            env=self.surroundings(),
            capture_output=True,
            text=True,
            check=False,
        )
        return (done.stdout + done.stderr).strip()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with temporary_cluster() as cluster:
        one = Server(cluster, tmp_path)
        one.volume.mkdir()
        (one.volume / "PG_VERSION").write_text("18\n")
        one.program("gosu", 'shift; exec "$@"')  # of the image, for root
        data = cluster.layout.data
        (data / "pg_hba.conf").write_text("host all all 127.0.0.1/32 trust\n")
        with (data / "postgresql.conf").open("a") as file:
            file.write(f"include_if_exists = '{one.read_only}'\n")
        password = cluster.layout.owner_password()
        subprocess.run(
            [cluster.psql(), "-c", "SELECT pg_reload_conf()"],
            env={**one.surroundings(), "PGPASSWORD": password},
            check=True,
            capture_output=True,
        )
        one.has_free(9000)
        one.room("start")
        one.sql("CREATE TABLE item (x int)")
        yield one


def test_a_full_disk_ends_writes_and_not_reads_until_there_is_room_again(server: Server) -> None:
    server.room("look")
    assert server.reserve.stat().st_size == 64 << 20
    assert server.sql(INSERT) == ""

    server.has_free(100)
    server.room("look")
    assert REFUSED in server.sql(INSERT)
    assert server.sql("TABLE item") == "1"
    # To make room, somebody may write all the same.
    assert server.sql("SET default_transaction_read_only = off", "DELETE FROM item") == ""
    assert server.reserve.exists()

    server.has_free(200)  # where it begins to be full again at once
    server.room("look")
    assert REFUSED in server.sql(INSERT)

    server.has_free(256)
    server.room("look")
    assert server.sql(INSERT) == ""


def test_the_reserve_is_given_up_when_the_last_megabytes_go_and_made_anew(server: Server) -> None:
    server.room("look")
    server.has_free(31)
    server.room("look")
    assert not server.reserve.exists()

    server.has_free(255)
    server.room("look")
    assert not server.reserve.exists()

    server.has_free(256)
    server.room("look")
    assert server.reserve.exists()


def test_a_server_that_starts_on_a_full_disk_gives_up_the_reserve_before(server: Server) -> None:
    server.room("look")
    server.has_free(3)

    server.room("start")

    assert not server.reserve.exists()
    assert "default_transaction_read_only = on" in server.read_only.read_text()

    server.has_free(9000)
    server.room("start")
    assert server.read_only.read_text() == ""


def test_a_volume_that_is_to_be_filled_for_the_first_time_stays_empty(server: Server) -> None:
    """Else initdb refuses it."""
    (server.volume / "PG_VERSION").unlink()

    server.room("look")
    server.has_free(3)
    server.room("start")

    assert list(server.volume.iterdir()) == []
    assert server.read_only.read_text() == ""
