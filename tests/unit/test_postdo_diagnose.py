"""A failure says what only one transaction stops, and which rows stand in the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import Project, make_shop
from rehearsing import failed, migrated, python, traced

from postdo.plan.remedies import remedy


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    return migrated(make_shop(tmp_path, database))


# What runs as Django does it, and not in one transaction.

NOT_IN_ONE = {
    "an enum's new value is used (57)": (
        "migrations.RunSQL(\"ALTER TYPE size ADD VALUE 'huge'\")",
        "migrations.RunSQL(\"INSERT INTO box VALUES ('huge')\")",
        "55P04",
    ),
    "a vacuum": ("", "migrations.RunSQL('VACUUM shop_item')", "25001"),
}


@pytest.mark.parametrize("case", NOT_IN_ONE)
def test_what_only_one_transaction_stops_is_told_apart(shop: Project, case: str) -> None:
    first, second, state_ = NOT_IN_ONE[case]
    shop.sql("CREATE TYPE size AS ENUM ('small'); CREATE TABLE box (size size)")
    shop.migration("shop", "0002_first", first, after="0001_initial")
    shop.migration("shop", "0003_second", second, after="0002_first", header="atomic = False")
    failure = failed(shop)
    assert failure.migration == "shop.0003_second"
    assert (failure.sqlstate, failure.single_only) == (state_, True)
    assert traced(shop, "plain").steps[-2].migration == "shop.0003_second"


SECOND_SESSION = """
from django.db import connections
other = connections['default'].copy()
with other.cursor() as cursor:
    cursor.execute("UPDATE shop_item SET name = 'Mug' WHERE name = 'Cup'")
other.close()
"""


def test_a_second_session_that_blocks_itself_fails_in_time(shop: Project) -> None:
    lock = "migrations.RunSQL('ALTER TABLE shop_item ADD COLUMN price int')"
    shop.migration("shop", "0002_lock", lock, after="0001_initial")
    python(shop, "0003_second", SECOND_SESSION.strip(), after="0002_lock")
    failure = failed(shop, lock_timeout_ms=500)
    assert (failure.sqlstate, failure.single_only) == ("55P03", True)
    assert failure.migration == "shop.0003_second"
    traced(shop, "plain", lock_timeout_ms=500)
    assert shop.sql("SELECT count(*) FROM shop_item WHERE name = 'Mug'") == [(1,)]


DURABLE = """
from django.db import transaction
with transaction.atomic(durable=True):
    apps.get_model('shop', 'Item').objects.update(name='Mug')
"""


def test_a_durable_block_runs_as_django_does_it(shop: Project) -> None:
    python(shop, "0002_durable", DURABLE.strip(), after="0001_initial", header="atomic = False")
    failure = failed(shop)
    assert failure.what.startswith("RuntimeError: A durable atomic block")
    assert failure.single_only
    traced(shop, "plain")
    assert shop.sql("SELECT DISTINCT name FROM shop_item") == [("Mug",)]


# What the data do not allow: HAZARDS 31 to 36, each with the rows.

DATA = {
    "NOT NULL over NULLs (31)": (
        "ALTER TABLE part ALTER COLUMN label SET NOT NULL",
        "23502",
        ("id=2, label=NULL",),
    ),
    "UNIQUE over duplicates (32)": (
        "ALTER TABLE part ADD CONSTRAINT once UNIQUE (code)",
        "23505",
        ("(code)=(a): 2 rows",),
    ),
    "UNIQUE, and NULLs that are no duplicates (32)": (
        "CREATE UNIQUE INDEX once ON part (code, hint)",
        "23505",
        ("(code, hint)=(c,same): 2 rows",),
    ),
    "UNIQUE of some rows, and duplicates among the others (32)": (
        "CREATE UNIQUE INDEX once ON part (hint) WHERE id > 2",
        "23505",
        ("(hint)=(same): 2 rows",),
    ),
    "a value that is too long (34)": (
        "ALTER TABLE part ALTER COLUMN label TYPE varchar(5)",
        "22001",
        ("id=3, label=much longer",),
    ),
    "a cast that fails (34)": (
        "ALTER TABLE part ALTER COLUMN code TYPE integer USING code::integer",
        "22P02",
        ("id=1, code=a", "id=2, code=a"),
    ),
    "orphans (35)": (
        'ALTER TABLE "part" ADD CONSTRAINT "of" FOREIGN KEY ("item_id") '
        'REFERENCES "shop_item" ("id") DEFERRABLE INITIALLY DEFERRED',
        "23503",
        ("id=3, item_id=99",),
    ),
    "CHECK violated (36)": (
        "ALTER TABLE part ADD CONSTRAINT sane CHECK (item_id < 50 AND code LIKE '%')",
        "23514",
        ("id=3",),
    ),
}
PARTS = """
CREATE TABLE part (id int PRIMARY KEY, label text, code text, item_id bigint, hint text);
INSERT INTO part VALUES (1, 'one', 'a', 1), (2, NULL, 'a', 2), (3, 'much longer', 'c', 99)
"""
HINTS = """
INSERT INTO part VALUES (4, 'four', 'c', 1, 'same'), (5, 'five', 'c', 1, 'same');
UPDATE part SET hint = 'twice' WHERE id < 3;
UPDATE part SET code = code || id WHERE id < 3;
INSERT INTO part VALUES (6, 'six', 'c', 1), (7, 'seven', 'c', 1)
"""


@pytest.mark.parametrize("case", DATA)
def test_rows_that_stand_in_the_way_are_shown(shop: Project, case: str) -> None:
    statement, state_, rows = DATA[case]
    shop.sql(PARTS)
    if "hint" in statement:
        shop.sql(HINTS)
    operation = f"migrations.RunSQL({statement!r})"
    shop.migration("shop", "0002_strict", operation, after="0001_initial")
    failure = failed(shop)
    assert (failure.sqlstate, failure.rows) == (state_, rows)
    assert failure.statement == statement
    assert failure.migration == "shop.0002_strict"
    assert failure.place.endswith("shop/migrations/0002_strict.py")
    assert not failure.single_only


def test_one_default_for_all_rows_of_a_unique_field_shows_the_value(shop: Project) -> None:
    """HAZARDS 33: the column is not there before, so the server's own words are what there is."""
    field = "models.CharField(max_length=9, unique=True, default='same')"
    operation = f"migrations.AddField('Item', 'token', {field})"
    shop.migration("shop", "0002_token", operation, after="0001_initial")
    failure = failed(shop)
    assert failure.rows == ("Key (token)=(same) is duplicated.",)


def test_a_statement_that_the_migration_caught_is_not_blamed(shop: Project) -> None:
    body = (
        "from django.db import DatabaseError, transaction\n"
        "try:\n"
        "    with transaction.atomic():\n"
        "        schema_editor.execute('SELECT nothing')\n"
        "except DatabaseError:\n"
        "    pass\n"
        "Item = apps.get_model('shop', 'Item')\n"
        "Item.objects.create(nothing=1)"
    )
    python(shop, "0002_caught", body, after="0001_initial")
    failure = failed(shop)
    assert failure.what.startswith("TypeError: Item() got unexpected keyword")
    assert (failure.statement, failure.sqlstate) == ("", "")
    assert failure.place.endswith("shop/migrations/0002_caught.py:13")


UPPER = (
    "models.GeneratedField(expression=models.functions.Upper('{}'), "
    "output_field=models.CharField(max_length={}), db_persist=True)"
)
LOWER = UPPER.replace("Upper", "Lower")
GENERATED = {
    "changed in place": (
        f"migrations.AddField('Item', 'upper', {UPPER.format('name', 50)})",
        f"migrations.AlterField('Item', 'upper', {LOWER.format('name', 50)})",
    ),
    "over a field that is gone": (
        "migrations.RenameField('Item', 'name', 'title')",
        f"migrations.AddField('Item', 'upper', {UPPER.format('name', 50)})",
    ),
}


@pytest.mark.parametrize("case", GENERATED)
def test_what_fails_in_a_generated_field_is_no_matter_of_run_python(
    shop: Project, case: str
) -> None:
    operations = ", ".join(GENERATED[case])
    shop.migration("shop", "0002_generated", operations, after="0001_initial")
    told = remedy(failed(shop))
    assert "apps.get_model" not in told
    assert "remove it in an earlier operation" in told
