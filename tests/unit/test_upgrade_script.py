"""db/upgrade.sh from an older major of PostgreSQL to a newer one, by real servers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from two_majors import ODD, PROJECT, Pair, port, two_majors

from embedded_postgres.application import OWNER

SHOP = """
SET ROLE site;
CREATE TABLE item (id bigserial PRIMARY KEY, name text, price float8, seen timestamptz, raw bytea);
INSERT INTO item (name, price, seen, raw)
    SELECT 'CREATE ROLE ' || n, n / 3.0, now() - n * interval '1 hour', decode(md5(n::text), 'hex')
    FROM generate_series(1, 500) AS n;
CREATE TABLE line (text text);
INSERT INTO line VALUES ('CREATE ROLE owner;'), ('CREATE ROLE pg;');
CREATE MATERIALIZED VIEW dear AS SELECT id FROM item WHERE price > 100;
SELECT lo_from_bytea(0, 'large');
SELECT setval('item_id_seq', 9000);
"""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """The same with a site's tables, which no test changes for good."""
    with two_majors() as both:
        both.query(both.live, SHOP, "shop")
        yield both


def test_a_copy_has_everything_and_a_row_that_differs_is_named(pair: Pair) -> None:
    copied = pair.upgrade("copy")
    assert copied.returncode == 0, copied.stderr

    compared = pair.upgrade("compare")

    assert (compared.returncode, compared.stdout) == (0, "")
    rows = "SELECT count(*), min(text), (SELECT count(*) FROM item) FROM line"
    assert pair.query(pair.other, rows, "shop") == "2|CREATE ROLE owner;|500"
    assert pair.query(pair.other, "SELECT nextval('item_id_seq')", "shop") == "9001"
    assert pair.query(pair.other, "SHOW lock_timeout", "shop") == "7s"
    assert ODD in pair.query(pair.other, "SELECT datname FROM pg_database").splitlines()
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert pair.query(pair.other, owners, "shop") == "site"

    pair.query(pair.other, "UPDATE item SET price = price + 1e-12 WHERE id = 77", "shop")
    pair.query(pair.other, "SELECT lo_put(oid, 0, 'L') FROM pg_largeobject_metadata", "shop")
    differ = pair.upgrade("compare").stdout.split("\n")
    assert [line.split(" ")[0] for line in differ if line] == ["large", "sequence", "table"]
    assert differ[1:3] == ["sequence public.item_id_seq", "table public.item"]


def test_a_comparison_that_cannot_be_made_is_no_equality(pair: Pair) -> None:
    pair.query(pair.live, "CREATE TABLE item2 AS SELECT 1 AS x", "shop")
    pair.query(pair.live, "CREATE VIEW no AS SELECT 1 / (x - 1) AS x FROM item2", "shop")
    pair.query(
        pair.live, "CREATE MATERIALIZED VIEW odd AS SELECT * FROM item2 WITH NO DATA", "shop"
    )
    try:
        compared = pair.upgrade("compare")
        assert compared.returncode != 0 or compared.stdout
    finally:
        pair.query(pair.live, "DROP TABLE item2 CASCADE", "shop")


def test_another_client_is_named(pair: Pair) -> None:
    assert pair.upgrade("clients").stdout == ""
    with subprocess.Popen(
        [pair.other.psql(), "-XqAt", "-d", "shop"],
        env=pair.surroundings() | {"PGPORT": port(pair.live), "PGAPPNAME": "a tool"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write("SELECT 'in';\n")
        client.stdin.flush()
        assert client.stdout.readline() == "in\n"
        assert pair.upgrade("clients").stdout == f"{OWNER}, database shop (a tool)\n"
        client.stdin.close()


def test_an_extension_that_the_new_image_lacks_is_named_before_anything(pair: Pair) -> None:
    assert pair.upgrade("check").stdout == ""
    pair.query(pair.live, "CREATE EXTENSION pg_trgm", "shop")
    try:
        refused = pair.upgrade("check")
        assert refused.returncode == 1
        assert "what=the new image does not have the extension pg_trgm of the database shop" in (
            refused.stdout
        )
    finally:
        pair.query(pair.live, "DROP EXTENSION pg_trgm", "shop")


class Volume:
    """A folder that stands for the volume."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for cluster in ("", "pg18"):
            (folder / cluster / "base").mkdir(parents=True)
            (folder / cluster / "PG_VERSION").write_text(f"{cluster[2:] or 17}\n")
        (folder / "pg_wal").mkdir()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(PROJECT / "db/clusters.sh"), *arguments],
            env={"PGDATA": str(self.folder), "PG_MAJOR": "18", "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def look(self) -> list[str]:
        return self.run("look").stdout.splitlines()


def test_the_volume_says_which_cluster_is_the_sites(tmp_path: Path) -> None:
    volume = Volume(tmp_path / "volume")
    assert volume.look() == ["major=17", "image_major=18", "cluster=.", "cluster=pg18"]

    volume.run("write", "live=pg18", "state=switched")

    assert volume.look()[:3] == ["live=pg18", "state=switched", "major=18"]
    assert {path.name for path in volume.folder.iterdir()} == {
        "postdo-clusters", "PG_VERSION", "base", "pg_wal", "pg18",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("live", "removed", "left"),
    [
        ("pg18", ".", {"postdo-clusters", "pg18"}),
        (".", "pg18", {"postdo-clusters", "PG_VERSION", "base", "pg_wal"}),
    ],
)
def test_only_a_cluster_that_is_not_the_sites_is_removed(
    tmp_path: Path, live: str, removed: str, left: set[str]
) -> None:
    volume = Volume(tmp_path / "volume")
    volume.run("write", f"live={live}")
    assert volume.run("remove", live).returncode == 1

    assert volume.run("remove", removed).returncode == 0

    assert {path.name for path in volume.folder.iterdir()} == left


def test_no_cluster_becomes_the_sites_that_is_not_there(tmp_path: Path) -> None:
    volume = Volume(tmp_path / "volume")
    refused = volume.run("write", "live=pg19", "state=switched")
    assert refused.returncode == 1
    assert volume.look()[0] == "major=17"
