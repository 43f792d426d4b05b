"""All pending migrations fit into one transaction, and it is the schema that Django makes."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import Project, make_shop
from rehearsing import failed, migrated, step, traced

from postdo.executor.run_pending import CONCURRENTLY


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    return migrated(make_shop(tmp_path, database))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX CONCURRENTLY a ON t (b)",
        "create unique index  concurrently if not exists a ON t (b)",
        "-- for the search\n/* long */ CREATE INDEX CONCURRENTLY a ON t (b)",
        "DROP INDEX CONCURRENTLY IF EXISTS a",
        "REINDEX INDEX CONCURRENTLY a",
        "REINDEX (VERBOSE) TABLE CONCURRENTLY t",
        "ALTER TABLE t DETACH PARTITION p CONCURRENTLY",
    ],
)
def test_concurrently_is_taken_out(statement: str) -> None:
    plain, times = CONCURRENTLY.subn(r"\1", statement)
    assert times == 1
    assert "concurrently" not in plain.lower()


@pytest.mark.parametrize(
    "statement",
    [
        "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
        "INSERT INTO t VALUES ('CREATE INDEX CONCURRENTLY')",
        "COMMENT ON TABLE t IS 'DROP INDEX CONCURRENTLY a'",
    ],
)
def test_what_only_speaks_of_it_is_left_alone(statement: str) -> None:
    assert CONCURRENTLY.search(statement) is None


CONCURRENT = """
AddIndexConcurrently("Item", models.Index(fields=["name"], name="by_name")),
migrations.RunSQL("CREATE INDEX CONCURRENTLY by_hand ON shop_item (name)"),
RemoveIndexConcurrently("Item", "by_name"),
AddIndexConcurrently("Item", models.Index(fields=["-name"], name="by_name_down")),
"""
IMPORT = "from django.contrib.postgres.operations import AddIndexConcurrently"


def test_indexes_made_concurrently_are_made_in_the_transaction(shop: Project) -> None:
    file = shop.migration(
        "shop", "0002_index", CONCURRENT, after="0001_initial", header="atomic = False"
    )
    file.write_text(f"{IMPORT}, RemoveIndexConcurrently\n{file.read_text()}")
    trace = traced(shop)
    sent = [one.sql for one in step(trace, "shop.0002_index").statements]
    assert not [sql for sql in sent if "CONCURRENTLY" in sql]
    names = {entry.name for entry in trace.after.of("index") if entry.table == "public.shop_item"}
    assert {"by_hand", "by_name_down"} <= names
    assert "by_name" not in names
    plain = traced(shop, "plain")
    assert plain.after.checksum == trace.after.checksum


BOX = (
    "CREATE TABLE box (id int PRIMARY KEY, item_id bigint "
    "REFERENCES shop_item DEFERRABLE INITIALLY DEFERRED)"
)
FILL, ALTER = (
    "migrations.RunSQL('INSERT INTO box SELECT id, id FROM shop_item')",
    "migrations.RunSQL('ALTER TABLE box ADD COLUMN more int')",
)


def test_deferred_checks_do_not_wait_for_the_next_file(shop: Project) -> None:
    """HAZARDS 37: "pending trigger events" between two files is none."""
    shop.sql(BOX)
    shop.migration("shop", "0002_fill", FILL, after="0001_initial")
    shop.migration("shop", "0003_alter", ALTER, after="0002_fill")
    trace = traced(shop)
    names = [one.migration for one in trace.steps]
    assert names == ["shop.0002_fill", "shop.0003_alter", "post_migrate"]
    assert traced(shop, "plain").after.checksum == trace.after.checksum


def test_within_one_file_they_are_what_django_says_they_are(shop: Project) -> None:
    shop.sql(BOX)
    shop.migration("shop", "0002_both", f"{FILL}, {ALTER}", after="0001_initial")
    failure = failed(shop)
    assert (failure.sqlstate, failure.single_only) == ("55006", True)
    assert "pending trigger events" in failure.what
    assert "pending trigger events" in failed(shop, "plain").what


HANDLER = """
from django.apps import AppConfig
from django.db.models.signals import post_migrate


def handle(sender, apps, **_):
    apps.get_model("shop", "Item").objects.create(name="made by a handler")
    if sender.broken:
        raise RuntimeError("no such service")


class ShopConfig(AppConfig):
    name = "shop"
    broken = False

    def ready(self):
        post_migrate.connect(handle, sender=self)
"""


def test_handlers_and_the_recorder_are_part_of_it(shop: Project) -> None:
    shop.write("shop/apps.py", HANDLER)
    shop.migration("shop", "0002_empty", "", after="0001_initial")
    last = traced(shop).steps[-1]
    assert last.migration == "post_migrate"
    assert [(one.table, one.inserted) for one in last.effects] == [("public.shop_item", 1)]
    assert shop.sql("SELECT count(*) FROM shop_item") == [(3,)]
    assert shop.sql("SELECT count(*) FROM django_migrations WHERE app = 'shop'") == [(1,)]


def test_a_handler_that_fails_is_seen_before(shop: Project) -> None:
    """HAZARDS 60."""
    shop.write("shop/apps.py", HANDLER.replace("broken = False", "broken = True"))
    failure = failed(shop)
    assert (failure.migration, failure.what) == ("post_migrate", "RuntimeError: no such service")
    assert failure.place.endswith("shop/apps.py:9")
