"""db/start.sh makes PostgreSQL's settings fit the memory there is, and changes nothing else."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from programs import needed
from projects import REPOSITORY

TEMPLATE = REPOSITORY / "db" / "postgresql.conf"
GIB = 1024**3
NO_LIMIT_V1 = 9223372036854771712  # what cgroup v1 shows when there is none
SHELLS = (("dash",), ("bash",), ("busybox", "sh"))


@pytest.fixture(params=SHELLS, ids="-".join)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Start:
    shell: tuple[str, ...] = request.param
    needed(shell[0])
    return Start(tmp_path, shell)


class Start:
    """Runs db/start.sh on a machine of our making, with an entrypoint that only tells its words."""

    def __init__(self, folder: Path, shell: tuple[str, ...]) -> None:
        self.folder, self.shell = folder, shell
        self.config = folder / "postgresql.conf"
        self.cgroup = folder / "cgroup"
        self.cgroup.mkdir()
        entrypoint = folder / "docker-entrypoint.sh"
        entrypoint.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$(dirname "$0")/words"\n')
        entrypoint.chmod(0o755)

    def limit(self, file: str, text: str | int) -> None:
        """Give the container a memory limit."""
        path = self.cgroup / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{text}\n")

    def hold(self, databases_bytes: int) -> None:
        """Let the databases have that size: a `du` says so, in place of a file of gigabytes."""
        du = self.folder / "du"
        kilobytes = databases_bytes // 1024
        asked = "-skL /the/volume/base /the/volume/pg_tblspc"
        du.write_text(f'#!/bin/sh\n[ "$*" = "{asked}" ] && echo "{kilobytes} base"\n')
        du.chmod(0o755)

    def run(
        self,
        *,
        machine_bytes: int,
        options: tuple[str, ...] = (),
        surroundings: dict[str, str] | None = None,
    ) -> dict[str, str]:
        """Start on a machine with that much memory; returns the settings of the file."""
        meminfo = self.folder / "meminfo"
        meminfo.write_text(f"MemTotal:  {machine_bytes // 1024} kB\nMemFree:  12 kB\n")
        subprocess.run(
            [*self.shell, REPOSITORY / "db" / "start.sh", *options],
            check=True,
            env={
                "PATH": f"{self.folder}:{os.environ['PATH']}",
                "PGDATA": "/the/volume",
                "POSTGRES_MAX_CONNECTIONS": "77",
                "POSTDO_TEMPLATE": str(TEMPLATE),
                "POSTDO_CONFIG": str(self.config),
                "POSTDO_MEMINFO": str(meminfo),
                "POSTDO_CGROUP": str(self.cgroup),
                "POSTDO_READ_ONLY_FILE": str(self.folder / "read-only.conf"),
                **(surroundings or {}),
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        return settings(self.config.read_text())

    def words(self) -> list[str]:
        """What the image's entrypoint was called with."""
        return (self.folder / "words").read_text().splitlines()


def settings(text: str) -> dict[str, str]:
    """NAME = VALUE lines, without comments."""
    return dict(re.findall(r"^([a-z_]+) = (.+?)\s*$", text, re.MULTILINE))


def test_memory_settings_are_shares_of_the_machine(start: Start) -> None:
    start.hold(100 * GIB)
    found = start.run(machine_bytes=16 * GIB)
    assert found["shared_buffers"] == "4096MB"
    assert found["effective_cache_size"] == "8192MB"
    assert found["work_mem"] == "40MB"
    assert found["maintenance_work_mem"] == "655MB"


@pytest.mark.parametrize(
    ("major", "options", "summaries"),
    [
        ("16", (), None),
        ("17", (), "on"),
        ("18", ("-c", "wal_level=minimal", "-c", "fsync=off"), None),  # PostgreSQL would not start
    ],
)
def test_wal_is_summarized_where_postgresql_can(
    start: Start, major: str, options: tuple[str, ...], summaries: str | None
) -> None:
    found = start.run(machine_bytes=4 * GIB, options=options, surroundings={"PG_MAJOR": major})
    assert found.get("summarize_wal") == summaries


@pytest.mark.parametrize("file", ["memory.max", "memory/memory.limit_in_bytes"])
def test_a_limit_of_the_container_counts_and_not_the_machine(start: Start, file: str) -> None:
    start.hold(100 * GIB)
    start.limit(file, 2 * GIB)
    assert start.run(machine_bytes=64 * GIB)["shared_buffers"] == "512MB"


@pytest.mark.parametrize(
    ("file", "text"),
    [("memory.max", "max"), ("memory/memory.limit_in_bytes", NO_LIMIT_V1)],
)
def test_no_limit_means_the_machine(start: Start, file: str, text: str | int) -> None:
    start.hold(100 * GIB)
    start.limit(file, text)
    assert start.run(machine_bytes=4 * GIB)["shared_buffers"] == "1024MB"


def test_a_small_machine_gets_what_postgresql_needs_to_start(start: Start) -> None:
    found = start.run(machine_bytes=GIB // 4)
    assert (found["shared_buffers"], found["work_mem"]) == ("128MB", "4MB")


@pytest.mark.parametrize(
    ("databases_bytes", "buffers"),
    [(0, "256MB"), (GIB // 4, "512MB"), (GIB, "2048MB"), (100 * GIB, "8192MB")],
)
def test_a_small_database_gets_no_cache_that_it_cannot_fill(
    start: Start, databases_bytes: int, buffers: str
) -> None:
    start.hold(databases_bytes)
    assert start.run(machine_bytes=64 * GIB)["shared_buffers"] == buffers


def test_a_big_machine_gets_no_more_than_is_of_use(start: Start) -> None:
    start.hold(100 * GIB)
    found = start.run(machine_bytes=512 * GIB)
    assert (found["shared_buffers"], found["work_mem"]) == ("8192MB", "64MB")


def test_everything_else_stays_as_it_is_written(start: Start) -> None:
    found = start.run(machine_bytes=4 * GIB)
    written = settings(TEMPLATE.read_text())
    computed = {name for name, value in written.items() if "%" in value and "MB" in value}
    assert computed == {
        "shared_buffers",
        "effective_cache_size",
        "work_mem",
        "maintenance_work_mem",
    }
    assert found.pop("max_connections") == "77"
    found.pop("include_if_exists")
    for file in ("/the/volume/postgresql.conf", "/run/postdo/read-only.conf"):
        assert f"include_if_exists = '{file}'\n" in start.config.read_text()
    # Of a volume that is not there: the least.
    assert found.pop("max_slot_wal_keep_size") == "256MB"
    for name in ("max_connections", "max_slot_wal_keep_size", "include_if_exists"):
        del written[name]
    assert {n: v for n, v in found.items() if n not in computed} == {
        n: v for n, v in written.items() if n not in computed
    }


def test_the_image_s_own_entrypoint_takes_over_with_the_options(start: Start) -> None:
    start.run(machine_bytes=4 * GIB, options=("-c", "work_mem=1GB"))
    assert start.words() == [
        "postgres",
        "-c",
        f"config_file={start.config}",
        "-c",
        "work_mem=1GB",
    ]


def two_clusters(start: Start, live: str) -> Path:
    """A volume of PostgreSQL 17 with a cluster of 18 beside it."""
    volume = start.folder / "volume"
    for folder, major in ((volume, 17), (volume / "pg18", 18)):
        folder.mkdir()
        (folder / "PG_VERSION").write_text(f"{major}\n")
    if live:
        (volume / "postdo-clusters").write_text(f"live={live}\nstate=switched\n")
    return volume


@pytest.mark.parametrize(
    ("live", "asked", "major", "starts"),
    [
        ("", "", "17", ""),
        (".", "", "17", ""),
        ("pg18", "", "18", "/pg18"),
        (".", "pg18", "18", "/pg18"),
    ],
)
def test_the_cluster_starts_that_the_volume_names(
    start: Start, live: str, asked: str, major: str, starts: str
) -> None:
    volume = two_clusters(start, live)
    here = {"PGDATA": str(volume), "PG_MAJOR": major, "POSTDO_CLUSTER": asked}
    start.run(machine_bytes=4 * GIB, surroundings=here)
    assert f"include_if_exists = '{volume}{starts}/postgresql.conf'\n" in start.config.read_text()
    assert start.words()[0] == "postgres"


@pytest.mark.parametrize(
    ("live", "major", "why"),
    [
        ("", "18", "the data was created by PostgreSQL 17, but the image is PostgreSQL 18"),
        ("pg18", "17", "the data was created by PostgreSQL 18, but the image is PostgreSQL 17"),
        ("pg19", "18", "the volume has no data of PostgreSQL in "),
    ],
)
def test_another_cluster_is_never_started_nor_made(
    start: Start, live: str, major: str, why: str
) -> None:
    volume = two_clusters(start, live)
    before = {path.name for path in volume.rglob("*")}
    with pytest.raises(subprocess.CalledProcessError) as refused:
        start.run(machine_bytes=4 * GIB, surroundings={"PGDATA": str(volume), "PG_MAJOR": major})
    assert f"db/start.sh: FATAL: {why}" in refused.value.stderr
    assert not (start.folder / "words").exists()
    assert {path.name for path in volume.rglob("*")} == before
