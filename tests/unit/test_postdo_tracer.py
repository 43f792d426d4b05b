"""A rehearsal sees what migrations do: locks, rewrites, rows, and what would be lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import ITEM, Project, make_shop
from rehearsing import migrated, python, state, step, traced

from postdo.rehearsal.data_loss import may_round
from postdo.rehearsal.trace import Effect, Loss

MORE_TABLES = """
CREATE TABLE stock (id int PRIMARY KEY, amount int, price numeric(10, 4), label varchar(20));
INSERT INTO stock SELECT n, n * 10, n + 0.1250, 'label ' || n FROM generate_series(1, 100) n;
INSERT INTO shop_item (name) VALUES ('Teapot'), ('Cup'), ('Saucer')
"""


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    return migrated(make_shop(tmp_path, database), extra=MORE_TABLES)


def sql(project: Project, *statements: str, name: str = "0002_sql", after: str = "") -> None:
    operations = ", ".join(f"migrations.RunSQL({statement!r})" for statement in statements)
    project.migration("shop", name, operations, after=after or "0001_initial")


def test_a_whole_number_made_bigger_is_a_rewrite_and_a_longer_text_is_none(shop: Project) -> None:
    sql(
        shop,
        "ALTER TABLE stock ALTER COLUMN amount TYPE bigint",
        "ALTER TABLE shop_item ALTER COLUMN name TYPE varchar(80)",
    )
    trace = traced(shop)
    assert [one.rewrites for one in trace.steps] == [("public.stock",), ()]
    assert trace.losses == ()
    assert trace.altered == ("public.shop_item", "public.stock")


def test_the_strongest_lock_of_each_table_is_named_and_how_long_it_is_held(shop: Project) -> None:
    sql(
        shop,
        "SELECT count(*) FROM stock",
        "CREATE INDEX late ON stock (amount)",
        "SELECT pg_sleep(0.3)",
        "ALTER TABLE shop_item ADD COLUMN price int",
    )
    trace = traced(shop)
    locks = {lock.table: lock for lock in trace.locks}
    assert locks["public.stock"].mode == "SHARE"
    assert locks["public.shop_item"].mode == "ACCESS EXCLUSIVE"
    assert 0.3 <= locks["public.stock"].seconds <= trace.seconds
    assert locks["public.shop_item"].seconds < locks["public.stock"].seconds
    assert {lock.table for lock in step(trace, "shop.0002_sql").locks} >= set(locks) - {
        "public.auth_permission",
        "public.django_content_type",
    }
    assert trace.lock_count > 0
    assert trace.wal_bytes > 0
    assert trace.peak_memory_mb > 10


def test_a_lock_on_a_table_that_no_statement_names_is_seen(shop: Project) -> None:
    sql(shop, "DO $$ BEGIN EXECUTE 'LOCK TABLE st' || 'ock IN EXCLUSIVE MODE'; END $$")
    (lock,) = step(traced(shop), "shop.0002_sql").locks
    assert (lock.table, lock.mode) == ("public.stock", "EXCLUSIVE")


def test_rows_are_counted_for_each_migration_and_in_all(shop: Project) -> None:
    python(
        shop,
        "0002_rows",
        "Item = apps.get_model('shop', 'Item')\n"
        "Item.objects.create(name='Plate')\n"
        "Item.objects.filter(name='Cup').update(name='Mug')\n"
        "schema_editor.connection.cursor().execute('DELETE FROM stock WHERE id <= 7')",
        after="0001_initial",
    )
    sql(shop, "INSERT INTO shop_item (name) VALUES ('Fork')", name="0003_sql", after="0002_rows")
    trace = traced(shop)
    deleted = Effect("public.stock", 0, 0, 7)
    assert step(trace, "shop.0002_rows").effects == (
        Effect("public.shop_item", 1, 1, 0),
        deleted,
    )
    assert step(trace, "shop.0003_sql").effects == (Effect("public.shop_item", 1, 0, 0),)
    assert trace.effects == (Effect("public.shop_item", 2, 1, 0), deleted)
    assert trace.losses == (Loss("rows", "public.stock", "", 7),)


def test_a_rename_is_no_loss_and_a_drop_is_one_with_its_count(shop: Project) -> None:
    shop.write("shop/models.py", ITEM.replace("class Item", "class Article"))
    shop.migration(
        "shop",
        "0002_rename",
        "migrations.RenameField('Item', 'name', 'title'), "
        "migrations.RenameModel('Item', 'Article')",
        after="0001_initial",
    )
    sql(
        shop,
        "ALTER TABLE stock DROP COLUMN label",
        "CREATE TABLE spare (id int)",
        name="0003_drop",
        after="0002_rename",
    )
    shop.sql("UPDATE stock SET label = NULL WHERE id > 40")
    trace = traced(shop)
    assert trace.losses == (Loss("column", "public.stock", "label", 40),)
    assert trace.altered == ("public.shop_item", "public.stock")


def test_a_dropped_table_counts_its_rows_and_an_emptied_one_too(shop: Project) -> None:
    sql(shop, "DROP TABLE stock", "TRUNCATE shop_item")
    before = state(shop)
    losses = traced(shop).losses
    assert losses == (
        Loss("table", "public.stock", "", 100),
        Loss("rows", "public.shop_item", "", 3),
    )
    assert state(shop) == before


def test_an_empty_column_that_is_dropped_is_no_loss(shop: Project) -> None:
    shop.sql("UPDATE stock SET label = NULL")
    sql(shop, "ALTER TABLE stock DROP COLUMN label")
    assert traced(shop).losses == ()


def test_values_that_a_type_cuts_are_counted(shop: Project) -> None:
    sql(
        shop,
        "ALTER TABLE stock ALTER COLUMN price TYPE numeric(10, 2)",
        "ALTER TABLE stock ALTER COLUMN label TYPE varchar(7) USING label::varchar(7)",
    )
    assert traced(shop).losses == (
        Loss("rounded", "public.stock", "price", 100),
        Loss("rounded", "public.stock", "label", 91),
    )


@pytest.mark.parametrize(
    ("before", "after", "rounds"),
    [
        ("integer", "bigint", False),
        ("bigint", "integer", False),
        ("character varying(20)", "character varying(30)", False),
        ("character varying(20)", "text", False),
        ("text", "character varying(20)", True),
        ("character varying(20)", "character varying(10)", True),
        ("numeric(10,2)", "numeric(12,4)", False),
        ("numeric(10,2)", "numeric(10,4)", True),
        ("numeric(10,2)", "numeric", False),
        ("numeric(10,2)", "integer", True),
        ("real", "double precision", False),
        ("double precision", "real", True),
        ("timestamp with time zone", "date", True),
        ("integer", "uuid", False),
    ],
)
def test_which_types_hold_less(before: str, after: str, rounds: bool) -> None:
    assert may_round(before, after) is rounds


def test_statements_are_kept_without_their_values_and_together_where_they_repeat(
    shop: Project,
) -> None:
    python(
        shop,
        "0002_rows",
        "for n in range(300):\n"
        "    apps.get_model('shop', 'Item').objects.create(name=f'secret {n}')",
        after="0001_initial",
    )
    statements = step(traced(shop), "shop.0002_rows").statements
    (insert,) = (one for one in statements if one.sql.startswith("INSERT"))
    assert not [one for one in statements if "secret" in one.sql]
    assert insert.sql.startswith('INSERT INTO "shop_item" ("name") VALUES (%s)')
    assert insert.times == 300
    assert 0 < insert.seconds < 10


def test_watching_costs_little(shop: Project) -> None:
    changes = [f"ALTER TABLE stock ADD COLUMN extra_{n} int" for n in range(100)]
    sql(shop, *changes)
    python(
        shop,
        "0003_rows",
        "Item = apps.get_model('shop', 'Item')\n"
        "for n in range(2000):\n"
        "    Item.objects.create(name='x')",
        after="0002_sql",
    )
    trace = traced(shop)
    assert 0 < trace.watching_seconds < trace.seconds / 4, (trace.watching_seconds, trace.seconds)


def test_a_plain_run_is_traced_as_far_as_its_transactions_let(shop: Project) -> None:
    sql(shop, "ALTER TABLE stock ALTER COLUMN amount TYPE bigint", "DELETE FROM stock WHERE id = 1")
    trace = traced(shop, "plain")
    one = step(trace, "shop.0002_sql")
    assert {lock.table: lock.mode for lock in one.locks}["public.stock"] == "ACCESS EXCLUSIVE"
    assert one.rewrites == ("public.stock",)
    assert one.effects == (Effect("public.stock", 0, 0, 1),)
    assert shop.sql("SELECT count(*) FROM stock") == [(99,)]
