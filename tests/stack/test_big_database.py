"""A big database is rehearsed on a base backup, in a container of which nothing is left."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from .clone import Clone
from .engine import Container, try_docker
from .runs import PATIENCE, Run
from .test_schema_changes import (
    REFUSED,
    ROWS,
    SLOW,
    add,
    add_shop,
    assert_nothing_is_left,
    backups,
    change,
    keep,
    untouched,
    visited,
    with_fields,
)
from .waiting import eventually

ONCE = "models.CharField(max_length=50, db_default='', unique=True)"


@pytest.fixture
def site(own: Clone) -> Iterator[Clone]:
    """Production with twenty rows, for which any database is a big one; its files are put back."""
    if not (own.root / "web/shop").exists():
        add_shop(own)
        own.run("-0")
        own.query("prod", ROWS)
        own.set_in_env(REHEARSE_DUMP_MB="1")
    with own.restored():
        yield own
    assert_no_copy_is_left(own)
    assert_nothing_is_left(own)


def assert_no_copy_is_left(clone: Clone) -> None:
    assert "copy" not in clone.containers("prod")


def volume_of(copy: Container) -> str:
    """The volume in which the copy has its data."""
    (volume,) = (one["Name"] for one in copy.facts()["Mounts"] if one["Type"] == "volume")
    return str(volume)


def is_gone(volume: str) -> bool:
    return try_docker("volume", "inspect", volume).returncode != 0


def at_work(clone: Clone) -> tuple[Run, str]:
    """A rehearsal of something slow, and the volume that holds its copy."""
    run = clone.start("rehearse")
    running = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep'"
    there = ("psql", "-h", "127.0.0.1", "-p", "5433", "-U", "postdo", "-qAtc", running)

    def copies() -> list[Container]:
        found = [one for name, one in clone.containers("prod").items() if name == "copy"]
        return [one for one in found if one.run(*there).strip() != "0"]

    (copy,) = eventually(copies, "the slow migration", PATIENCE)
    return run, volume_of(copy)


def test_a_release_is_rehearsed_on_a_base_backup_and_done(site: Clone) -> None:
    before = backups(site)
    field = "models.IntegerField(db_default=0)"
    change(site, with_fields({"amount": field}, site), add("amount", field))

    with visited(site):
        done = site.run("-0")

    assert_no_copy_is_left(site)
    assert "MB: it is rehearsed on a base backup" in done.out
    assert "migrated: 1 applied" in done.out
    assert site.query("prod", "SELECT count(amount) FROM shop_thing") == "20"
    assert backups(site) == before, "nothing was dumped"
    keep(site)


def test_what_the_data_does_not_fit_is_found_on_the_base_backup_and_refused(site: Clone) -> None:
    altered = f'migrations.AlterField("thing", "note", {ONCE})'
    change(site, with_fields({"note": ONCE}, site), altered)

    with untouched(site):
        refused = site.run("-0", ok=False)

    assert refused.status == REFUSED
    refused.refused("preparing the database was refused: ", "what ran before goes on")
    assert "(note)=(same): 20 rows" in refused.err


def test_ctrl_c_removes_it_and_what_a_killed_run_has_left_the_next_one_removes(
    site: Clone,
) -> None:
    change(site, with_fields({}, site), SLOW)
    with untouched(site):
        run, volume = at_work(site)
        ended = run.stop(signal.SIGINT)
        assert ended.status == 128 + signal.SIGINT, ended
        assert_no_copy_is_left(site)
        assert is_gone(volume)

        run, volume = at_work(site)
        run.stop(signal.SIGKILL)
        assert not is_gone(volume), "nobody was there to remove it"
        found = site.run("sources")

    assert "Remove the copy of the data that an earlier run has left" in found.text
    assert is_gone(volume)
    eventually(
        lambda: not any("one-off" in name for name in site.containers("prod")),
        "postdo to end, which has lost its copy",
    )
