"""HAZARDS 53: a disk of the server fills up: while it is copied, rehearsed, and changed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from driving import fill, small_disk, tablespace_on_a_small_disk
from projects import query

from embedded_postgres import Cluster, temporary_cluster

from .site import Site, drop, make_site, site_like
from .steps import ADD, restart, run_python

MB = 1_000_000
# About 10 MB, and 2 MB of index.
MORE_ROWS = """
INSERT INTO shop_item (name, price, note)
    SELECT 'more', 1, md5(n::text) || md5((n + 1)::text) || md5((n + 2)::text) || md5((n + 3)::text)
    FROM generate_series(1, 60000) n
"""
TWICE = "CREATE TABLE twice AS SELECT * FROM shop_item"
# In no table, but all of it is in the WAL.
MUCH_WAL = """
SELECT pg_logical_emit_message(true, 'much', repeat('x', 1000000)) FROM generate_series(1, 100)
"""
# Some other program fills the disk, just when the change has begun.
FILL = """
import os, shutil
disk, name = {disk!r}, schema_editor.connection.settings_dict["NAME"]
if os.path.exists({flag!r}) and not name.startswith("postdo_scratch"):
    with open(disk + "/ballast", "wb", buffering=0) as file:
        while shutil.disk_usage(disk).free > {leave} and file.write(bytes(4096)):
            pass
schema_editor.execute({statement!r})
"""


@pytest.fixture
def on_small_disk(
    tmp_path: Path, postgres: Cluster, first_site: Site
) -> Iterator[tuple[Site, Path]]:
    """The shop, with 12 MB of rows more, on a disk of 100 MB."""
    admin = postgres.url("postgres")
    with tablespace_on_a_small_disk(postgres, admin, 100) as (space, disk):
        site = site_like(first_site, tmp_path / "site", f"TABLESPACE {space}")
        try:
            site.sql(MORE_ROWS)
            # A new database has its room on the disk from then on only.
            site.sql("CHECKPOINT")
            yield site, disk
        finally:
            drop(site)


@contextmanager
def filled(disk: Path, megabytes: int) -> Iterator[None]:
    """With that much room left."""
    ballast = fill(disk, leave_bytes=megabytes * MB)
    yield
    ballast.unlink()


@pytest.mark.parametrize(
    ("room", "says"),
    [
        (11, ("the database server's disk is full: ", "REHEARSE=schema")),
        (26, ("shop.0002_twice failed in the rehearsal", "free some disk space")),
    ],
    ids=["restore", "rehearsal"],
)
def test_a_disk_that_fills_up_before_the_change_refuses_it(
    on_small_disk: tuple[Site, Path], room: int, says: tuple[str, ...]
) -> None:
    site, disk = on_small_disk
    site.migration("0002_twice", f'migrations.RunSQL("{TWICE}", "")')
    with filled(disk, room):
        site.ends_refused(*says)
    site.ends_done()


def test_a_disk_that_fills_up_in_the_change_undoes_it(
    on_small_disk: tuple[Site, Path], tmp_path: Path
) -> None:
    site, disk = on_small_disk
    flag = tmp_path / "flag"
    site.migration("0002_add", ADD)
    run_python(
        site,
        "0003_twice",
        FILL.format(disk=str(disk), flag=str(flag), leave=4 * MB, statement=TWICE),
        after="0002_add",
    )
    flag.touch()
    site.ends_undone("shop.0003_twice", "No space left on device")
    (disk / "ballast").unlink()
    flag.unlink()
    site.ends_done()


def test_a_disk_of_the_wal_that_fills_up_ends_the_server_and_undoes_the_change(
    tmp_path: Path,
) -> None:
    with temporary_cluster() as cluster:
        data = cluster.status().data
        assert data is not None
        with small_disk(300, data.stat().st_uid) as disk:
            try:
                move_wal(cluster, data, disk)
                with cluster.fresh_database("shop") as url:
                    undone_without_wal(make_site(tmp_path / "site", url), cluster, disk)
            finally:
                cluster.stop()


def move_wal(cluster: Cluster, data: Path, disk: Path) -> None:
    """Have the WAL on this disk."""
    url = cluster.url()
    query(url, "ALTER SYSTEM SET min_wal_size = '32MB'")
    query(url, "ALTER SYSTEM SET max_wal_size = '64MB'")
    cluster.stop()
    shutil.move(data / "pg_wal", disk / "wal")
    (data / "pg_wal").symlink_to(disk / "wal")
    restart(cluster, url)


def undone_without_wal(site: Site, cluster: Cluster, disk: Path) -> None:
    flag = site.root.parent / "flag"
    site.migration("0002_add", ADD)
    run_python(
        site,
        "0003_much",
        FILL.format(disk=str(disk), flag=str(flag), leave=0, statement=MUCH_WAL),
        after="0002_add",
    )
    before = site.untouched()
    flag.touch()
    ended = site.run("migrate", DB_WAIT_SECONDS="2")
    assert ended.code == 4, ended.out + ended.err
    assert "Traceback" not in ended.err
    assert "PANIC:  could not write to file" in cluster.status().log.read_text()
    (disk / "ballast").unlink()
    flag.unlink()
    restart(cluster, site.project.url)
    assert site.untouched() == before
    site.ends_done()
