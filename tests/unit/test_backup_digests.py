"""The digests of tables: the same where the data are the same, and different where they are not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from backup_sets import fill
from projects import query

from embedded_postgres import Cluster
from postdo_backup import database as db
from postdo_backup import digests
from postdo_backup.digests import Content, NextValue, Table


def content(url: str) -> Content:
    connection = db.connect(url)
    try:
        return digests.content(connection)
    finally:
        connection.close()


def one(url: str, table: str = "public.shop_item") -> tuple[int, str]:
    (found,) = (each for each in content(url).tables if each.key == table)
    return found.rows, found.digest


def test_a_restored_database_has_the_same_digests(
    postgres: Cluster, database: str, tmp_path: Path
) -> None:
    programs = postgres.status().programs
    assert programs is not None
    before = content(fill(database))
    with postgres.fresh_database("restored") as other:
        dump = tmp_path / "dump"
        run(programs / "pg_dump", "-Fc", f"--file={dump}", database)
        run(programs / "pg_restore", "--exit-on-error", f"--dbname={other}", dump)
        assert digests.differences(before, content(other)) == ()
    assert [(table.key, table.rows) for table in before.tables] == [
        ('Other Place.A "big" table', 2),
        ("public.child", 1),
        ("public.nothing", 0),
        ("public.parent", 1),
        ("public.parted_2026", 1),
        ("public.shop_item", 50),
        ("pg_catalog.pg_largeobject", 1),
    ]
    assert {each.key: each.next for each in before.sequences} == {
        "public.counter": 21,
        "public.shop_item_id_seq": 51,
    }


def run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, timeout=60)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE shop_item SET name = 'other' WHERE id = 7",
        "UPDATE shop_item SET tags = '{7}' WHERE id = 7",
        "UPDATE shop_item SET blob = set_byte(blob, 3, 255 - get_byte(blob, 3)) WHERE id = 7",
        "UPDATE shop_item SET took = NULL WHERE id = 7",
        # The same values in other rows.
        "UPDATE shop_item SET name = 'item ' || 15 - id WHERE id IN (7, 8)",
        "DELETE FROM shop_item WHERE id = 7",
        "INSERT INTO shop_item (name) VALUES ('more')",
    ],
)
def test_a_changed_row_changes_the_digest_of_its_table_alone(database: str, change: str) -> None:
    before = content(fill(database))
    query(database, change)
    (line,) = digests.differences(Content(before.tables), Content(content(database).tables))
    assert "public.shop_item" in line


def test_a_large_object_counts(database: str) -> None:
    before = content(fill(database))
    query(database, "SELECT lo_put(oid, 4000, 'x') FROM pg_largeobject_metadata")
    assert digests.differences(before, content(database)) == (
        "table pg_catalog.pg_largeobject has as many rows, but not the same",
    )


def test_neither_the_order_of_rows_nor_the_settings_of_the_database_count(database: str) -> None:
    before = one(fill(database))
    query(database, "CREATE TABLE kept AS TABLE shop_item")
    query(database, "DELETE FROM shop_item")
    columns = "id, name, price, r, at, took, blob, tags, doc"
    query(
        database,
        f"INSERT INTO shop_item ({columns}) SELECT {columns} FROM kept ORDER BY md5(name)",  # noqa: S608
    )
    for setting in (
        "datestyle = 'SQL, DMY'",
        "timezone = 'Asia/Tokyo'",
        "intervalstyle = 'iso_8601'",
        "bytea_output = 'escape'",
        "extra_float_digits = -5",
        "statement_timeout = '1ms'",
    ):
        name = database.rpartition("/")[2]
        query(database, f"ALTER DATABASE {name} SET {setting}")
    assert one(database) == before


# Computed by hand in Python. A change of these numbers makes every set that exists worthless.
def test_the_digest_is_the_sum_of_the_first_half_of_md5(database: str) -> None:
    query(database, "CREATE TABLE t (b text, a int); INSERT INTO t VALUES ('x', 1), ('é y', 2)")
    assert one(database, "public.t") == (2, "74c77b73b50e95c2")


def test_differences_name_each_table_and_sequence() -> None:
    expected = Content(
        (Table("public", "a", 1, "0"), Table("public", "b", 2, "0"), Table("public", "c", 3, "0")),
        (NextValue("public", "s", 5, 9), NextValue("public", "t", 5, 5)),
    )
    found = Content(
        (Table("public", "a", 1, "1"), Table("public", "b", 1, "0"), Table("public", "d", 3, "0")),
        (NextValue("public", "s", 7, 7), NextValue("public", "t", 6, 6)),
    )
    assert digests.differences(expected, found) == (
        "table public.a has as many rows, but not the same",
        "table public.b has 1 rows, not 2",
        "table public.c is missing",
        "table public.d is unexpected",
        "sequence public.t continues with 6, not 5",
    )
