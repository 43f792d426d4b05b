"""db/roles.sh on a real server, as it stands before an older volume is moved over."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from embedded_postgres import Cluster, temporary_cluster
from embedded_postgres.application import OWNER

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "db/roles.sh"
SUPERUSER = "postdo_superuser"
EVERYBODY = "local all all trust\nhost all all 127.0.0.1/32 trust\n"


@dataclass
class Volume:
    """A server that lets everybody in, as the image's socket does."""

    cluster: Cluster
    folder: Path  # stands for PGDATA

    def query(self, role: str, sql: str, database: str = "postgres", password: str = "") -> str:
        """What psql prints."""
        done = subprocess.run(
            [self.cluster.psql(), "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql],
            env={
                **self.surroundings(),
                "PGUSER": role,
                "PGDATABASE": database,
                "PGPASSWORD": password,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def surroundings(self) -> dict[str, str]:
        """The environment in which PostgreSQL's programs find it."""
        programs = Path(self.cluster.psql()).parent
        return {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.cluster.connection().port),
        }

    def rename_first(self, name: str) -> None:
        """Another name for the role with which the volume was made."""
        self.query(OWNER, "CREATE ROLE helper LOGIN SUPERUSER")
        self.query("helper", f"ALTER ROLE {OWNER} RENAME TO {name}")
        self.query(name, "DROP ROLE helper")

    def roles(self, *arguments: str, **surroundings: str) -> subprocess.CompletedProcess[str]:
        """Run db/roles.sh against it."""
        return subprocess.run(
            ["sh", str(SCRIPT), *arguments],
            input="a-password",
            env={**self.surroundings(), "PGDATA": str(self.folder), **surroundings},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def settle(self, database: str) -> None:
        """``roles.sh settle`` for the role site, which has to go well."""
        done = self.roles("settle", "site", database, "NOCREATEDB", "")
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    """A server of this test alone, whose first superuser is still the embedded one's."""
    with temporary_cluster() as cluster:
        (cluster.layout.data / "pg_hba.conf").write_text(EVERYBODY)
        one = Volume(cluster, tmp_path)
        one.query(OWNER, "SELECT pg_reload_conf()", password=cluster.layout.owner_password())
        yield one


def test_a_site_in_the_database_postgres_keeps_its_tables(volume: Volume) -> None:
    volume.rename_first("site")
    volume.query("site", "CREATE TABLE item (x int)")

    volume.settle("postgres")

    assert volume.query("site", "SELECT rolsuper FROM pg_roles WHERE rolname = 'site'") == "f"
    volume.query("site", "INSERT INTO item VALUES (1); ALTER TABLE item ADD y int")


def test_a_superuser_who_is_not_the_first_is_not_moved(volume: Volume) -> None:
    volume.rename_first("first")
    volume.query("first", "CREATE ROLE site LOGIN SUPERUSER")
    volume.query("first", "CREATE DATABASE shop OWNER first")
    volume.query("first", "CREATE TABLE item (x int)", "shop")

    done = volume.roles("settle", "site", "shop", "NOCREATEDB", "")

    assert done.returncode == 1
    assert "what=the first superuser of this volume is first, not site" in done.stdout
    assert volume.query("site", "SELECT rolsuper FROM pg_roles WHERE rolname = 'site'") == "t"

    # As it says.
    assert f"ALTER ROLE first RENAME TO {SUPERUSER}" in done.stdout
    volume.query("site", f"ALTER ROLE first RENAME TO {SUPERUSER}")
    volume.settle("shop")
    assert volume.query("site", "SELECT rolsuper FROM pg_roles WHERE rolname = 'site'") == "f"
    volume.query("site", "INSERT INTO item VALUES (1)", "shop")


def test_what_was_made_while_a_move_was_interrupted_is_the_sites(volume: Volume) -> None:
    """Killed after the roles have changed names, and before what was made in between."""
    volume.rename_first("site")
    volume.query("site", "CREATE DATABASE shop")
    volume.settle("shop")
    volume.query(SUPERUSER, "CREATE ROLE postdo_mover LOGIN SUPERUSER")
    volume.query(SUPERUSER, "CREATE TABLE between (x int)", "shop")

    volume.settle("shop")

    volume.query("site", "INSERT INTO between VALUES (1)", "shop")
    assert not volume.query("site", "SELECT 1 FROM pg_roles WHERE rolname = 'postdo_mover'")


def test_a_first_start_has_finished_once_the_roles_are_settled(volume: Volume) -> None:
    """Else db/start.sh would take what pg_upgrade leaves for a first start that failed."""
    marker = volume.folder / "postdo-first-start"
    marker.touch()
    volume.rename_first("site")

    volume.settle("postgres")

    assert not marker.exists()


def test_a_server_that_lets_nobody_in_is_not_taken_for_another_ones(volume: Volume) -> None:
    volume.rename_first("site")
    (volume.cluster.layout.data / "pg_hba.conf").write_text("host all other 127.0.0.1/32 trust\n")
    volume.query("site", "SELECT pg_reload_conf()")

    done = volume.roles("check", "site", "postgres")
    assert "the kit cannot log in to PostgreSQL: no pg_hba.conf entry" in done.stdout

    done = volume.roles("check", "site", "postgres", PGPORT="1")
    assert "the kit cannot log in to PostgreSQL: Connection refused" in done.stdout


def test_a_role_that_the_volume_does_not_have_is_said_so(volume: Volume) -> None:
    done = volume.roles("check", "nobody", "postgres")

    assert "this database was not created with POSTGRES_USER=nobody" in done.stdout
