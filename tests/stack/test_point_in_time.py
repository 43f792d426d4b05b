"""Back to just before a mistake, and the end of a disk: what the archive gives back."""

from __future__ import annotations

import time

from .clone import Clone
from .engine import docker, try_docker
from .waiting import eventually

COUNT = "SELECT count(*) FROM numbered"
NUMBERS = "SELECT number FROM numbered ORDER BY 1"


def has_a_base_backup(clone: Clone) -> bool:
    """Of the database server that there is now."""
    newest = sorted((clone.root / "backups/archive" / clone.name).glob("*Z"))[-1:]
    return any([*one.glob("base/*Z/about")] for one in newest)


def test_a_mistake_and_a_lost_disk_cost_nothing_but_what_came_after(fresh: Clone) -> None:
    del fresh.environment["PITR"]  # as .env has it: auto
    fresh.run("-0")
    eventually(lambda: has_a_base_backup(fresh), "the first base backup", 60)
    fresh.query("prod", "CREATE TABLE numbered (number int PRIMARY KEY)")
    fresh.query("prod", "INSERT INTO numbered SELECT generate_series(1, 100)")
    assert "receiving, from 20" in fresh.run("-0", "status").out
    archive = fresh.containers("prod")["archive"]
    site = fresh.containers("prod")[fresh.live()]
    secret = archive.environment["PGPASSWORD"]
    assert secret
    assert secret not in str(site.facts()) + (fresh.root / ".env").read_text()
    assert archive.process()["Uid"].split()[0] != "0"

    assert "wrote the base backup 20" in fresh.run("-0", "backup", "base").out

    # A release leaves a restore point; then somebody makes a mistake.
    fresh.run("-0", LOG_LEVEL="DEBUG")
    fresh.query("prod", "DELETE FROM numbered")
    assert "--before-release NUMBER (2)" in fresh.run("releases").out
    fresh.run("-0", "restore", "--before-release", "2")
    assert "recovery" not in fresh.containers("prod")
    fresh.run("-0", "restore", "--swap", LOG_LEVEL="DEBUG")
    assert fresh.query("prod", COUNT) == "100"

    # The disk of the database is gone with everything that was running.
    acknowledged = []
    for number in range(101, 116):
        fresh.query("prod", f"INSERT INTO numbered VALUES ({number})")  # noqa: S608
        acknowledged.append((number, time.monotonic()))
    ended = time.monotonic()
    prod = fresh.containers("prod")
    docker("rm", "--force", *(one.id for one in prod.values()))
    docker("volume", "rm", f"{fresh.project('prod')}_prod-data")
    refused = fresh.run("-0", "restore", "--time", "2020-01-01 12:00", ok=False)
    refused.refused("the archive does not cover that: it covers 20", "choose a time")
    fresh.run("-0")
    assert try_docker("inspect", archive.id).returncode != 0
    fresh.run("-0", "restore", "--latest")

    found = fresh.run("-0", "psql", "-d", "restored", "-qAtc", NUMBERS).out.split()
    certain = [number for number, at in acknowledged if at < ended - 1]
    assert found[: 100 + len(certain)] == [str(number) for number in [*range(1, 101), *certain]]
    fresh.run("-0", "stop")
    assert fresh.runs_in("prod") == set()
