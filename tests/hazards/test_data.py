"""HAZARDS 31 to 41: the rows are not what the migrations take them for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from .site import Site
from .steps import ADD, run_python

ALLOWED = {"ON_INCOMPATIBLE": "allow"}  # the serving release is the subject of other tests
TRY_TO_DELETE = """
from django.db import transaction
with transaction.atomic():
    apps.get_model("shop", "Order").objects.all().delete()
    transaction.set_rollback(True)
"""
DROP_NOTE = 'migrations.RemoveField("item", "note")'


@dataclass(frozen=True)
class Case:
    """Rows that stand in the way of a migration, and what a person has to be told of them."""

    hazard: str
    operations: str
    says: tuple[str, ...]
    rows: str = ""


CASES = (
    Case(
        "31 NOT NULL over NULLs",
        'migrations.AlterField("item", "note", models.TextField())',
        ("contains null values", "id=4, note=NULL", "fill the NULL values"),
    ),
    Case(
        "32 UNIQUE over duplicates",
        'migrations.AlterField("item", "name", models.CharField(max_length=50, unique=True))',
        ("could not create unique index", "(name)=(twice): 2 rows", "make the values unique"),
        "UPDATE shop_item SET name = 'twice' WHERE id IN (7, 8)",
    ),
    Case(
        "33 unique field whose default is computed once",
        'migrations.AddField("item", "token", '
        'models.UUIDField(default=__import__("uuid").uuid4, unique=True))',
        ("could not create unique index", "Django computes a default once for all rows"),
    ),
    Case(
        "34 a value that cannot be cast",
        'migrations.AlterField("item", "name", models.IntegerField())',
        ("invalid input syntax for type integer", "id=1, name=item 1", "the new type"),
    ),
    Case(
        "34 a value that is too long",
        'migrations.AlterField("item", "name", models.CharField(max_length=7))',
        ("value too long", "id=100, name=item 100", "shorten the values"),
    ),
    Case(
        "34 a number that is too big",
        'migrations.AlterField("item", "price", models.SmallIntegerField())',
        ("smallint out of range", "id=9, price=70000", "correct the numbers"),
        "UPDATE shop_item SET price = 70000 WHERE id = 9",
    ),
    Case(
        "34 a number with too many digits",
        'migrations.AlterField("item", "price", '
        "models.DecimalField(max_digits=5, decimal_places=2))",
        ("numeric field overflow", "id=9, price=-1000", "correct the numbers"),
        "UPDATE shop_item SET price = -1000 WHERE id = 9",
    ),
    Case(
        "35 orphans under a new foreign key",
        'migrations.AlterField("order", "quantity", models.ForeignKey("shop.Item", '
        'models.CASCADE, related_name="+", db_column="quantity"))',
        ("violates foreign key constraint", "id=3, quantity=999", "refer to missing rows"),
        "UPDATE shop_order SET quantity = 999 WHERE id = 3",
    ),
    Case(
        "36 a CHECK that rows break",
        'migrations.AlterField("item", "price", models.PositiveIntegerField(default=0))',
        ("violated by some row", "id=5", "correct the rows that violate the constraint"),
        "UPDATE shop_item SET price = -1 WHERE id = 5",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.hazard)
def test_rows_that_a_migration_cannot_take_are_shown_before_anything_is_touched(
    site: Site, case: Case
) -> None:
    site.migration("0002_change", case.operations)
    if case.rows:
        site.sql(case.rows)
    site.ends_refused("shop.0002_change failed in the rehearsal", *case.says, **ALLOWED)


def test_what_was_refused_for_its_rows_is_done_once_they_are_corrected(site: Site) -> None:
    # HAZARDS 31
    site.migration("0002_note", 'migrations.AlterField("item", "note", models.TextField())')
    site.ends_refused("id=4, note=NULL", **ALLOWED)
    site.sql("UPDATE shop_item SET note = '' WHERE note IS NULL")
    site.ends_done(**ALLOWED)
    assert site.recorded() == ["0001_initial", "0002_note"]


# --- 37: rows and schema in one transaction ---------------------------------------------------

MOVE = 'apps.get_model("shop", "Order").objects.update(item_id=1)'
NULLABLE = 'migrations.AlterField("order", "quantity", models.IntegerField(null=True))'


def test_rows_in_one_file_and_their_table_in_the_next_are_done_in_one_transaction(
    site: Site,
) -> None:
    # HAZARDS 37
    site.migration("0002_move", "migrations.RunPython(change)", header=_function(MOVE))
    site.migration("0003_nullable", NULLABLE, after="0002_move")
    site.ends_done(**ALLOWED)
    assert site.sql("SELECT count(DISTINCT item_id) FROM shop_order") == [(1,)]


def test_rows_and_their_table_in_one_file_are_refused_with_the_way_to_split_it(
    site: Site,
) -> None:
    # HAZARDS 37
    operations = f"migrations.RunPython(change), {NULLABLE}"
    site.migration("0002_both", operations, header=_function(MOVE))
    site.ends_refused("pending trigger events", "split the migration", **ALLOWED)


# --- 38: budgets ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "key", "value"),
    [
        ('editor.execute("SELECT pg_sleep(60)")', "REHEARSE_SECONDS", "4"),
        ('__import__("time").sleep(60)', "REHEARSE_SECONDS", "4"),
        ('found = ["x" * 1000000 for _ in range(2000)]', "REHEARSE_MEMORY_MB", "300"),
    ],
    ids=["38 slow SQL", "38 slow Python", "38 memory"],
)
def test_a_migration_beyond_its_budget_is_refused_and_the_budget_is_named(
    site: Site, body: str, key: str, value: str
) -> None:
    site.migration("0002_slow", "migrations.RunPython(change)", header=_function(body))
    site.ends_refused("shop.0002_slow", key, "batches", **{key: value})


# --- 39: losses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operations", "body", "says"),
    [
        (DROP_NOTE, "pass", "would delete column shop_item.note (150 values)"),
        ('migrations.DeleteModel("order")', "pass", "would delete table shop_order (500 rows)"),
        (
            "migrations.RunPython(change)",
            'apps.get_model("shop", "Order").objects.filter(quantity=1).delete()',
            "would delete 71 rows of shop_order",
        ),
        (
            'migrations.RunSQL("TRUNCATE shop_order")',
            "pass",
            "would delete 500 rows of shop_order",
        ),
    ],
    ids=["39 column", "39 table", "39 rows", "39 TRUNCATE"],
)
def test_what_would_be_lost_is_counted_and_done_only_when_that_plan_is_approved(
    site: Site, operations: str, body: str, says: str
) -> None:
    site.migration("0002_loss", operations, header=_function(body))
    refused = site.ends_refused(says, "--approve", **ALLOWED)
    checksum = _checksum(refused.err)
    site.ends_done("migrate", "--approve", checksum, **ALLOWED)


def test_an_approval_is_stale_once_another_migration_is_pending(site: Site) -> None:
    # HAZARDS 39
    site.migration("0002_loss", DROP_NOTE)
    checksum = site.plan(**ALLOWED)["checksum"]
    site.migration("0003_more", 'migrations.DeleteModel("order")', after="0002_loss")
    site.ends_refused(
        f"the approval {checksum} is for another plan",
        "delete column shop_item.note (150 values)",
        "delete table shop_order (500 rows)",
        POSTDO_APPROVE=checksum,
        **ALLOWED,
    )


def test_a_policy_decides_over_losses_before_any_approval(site: Site) -> None:
    # HAZARDS 39
    site.migration("0002_loss", DROP_NOTE)
    checksum = site.plan(**ALLOWED)["checksum"]
    site.ends_refused(
        "would delete column shop_item.note (150 values)",
        "set ON_LOSS=ask",
        ON_LOSS="refuse",
        POSTDO_APPROVE=checksum,
        **ALLOWED,
    )
    site.ends_done(ON_LOSS="allow", **ALLOWED)


def test_an_empty_column_is_no_loss(site: Site) -> None:
    # HAZARDS 39
    site.sql("UPDATE shop_item SET note = NULL")
    site.migration("0002_loss", DROP_NOTE)
    site.ends_done(**ALLOWED)


# --- 40, 41: production is not the copy -------------------------------------------------------


def test_a_row_that_appears_between_the_copy_and_the_change_undoes_everything(
    site: Site,
) -> None:
    # HAZARDS 40
    site.migration(
        "0002_more", 'migrations.AlterField("order", "quantity", models.BigIntegerField())'
    )
    site.migration(
        "0003_unique",
        'migrations.AlterField("item", "name", models.CharField(max_length=50, unique=True))',
        after="0002_more",
    )
    before = site.snapshot()
    visitor = site.connect()
    visitor.autocommit = False
    # Not committed, so that the copy does not have it, and the change has to wait for it.
    visitor.cursor().execute("INSERT INTO shop_item (name, price) VALUES ('item 1', 0)")
    process = site.start("migrate", **ALLOWED)
    said = _read_until(process, "rolled back, trying again")
    visitor.commit()
    visitor.close()
    rest, _ = process.communicate(timeout=60)
    text = said + rest
    assert process.returncode == 4, text
    assert "postdo: failed and undone: " in text, text
    assert "shop.0003_unique" in text, text
    assert "item 1" in text, text
    after = site.snapshot()
    assert after.schema == before.schema
    changed = {name for name in before.tables if before.tables[name] != after.tables[name]}
    assert changed == {"public.shop_item"}
    assert site.sql("SELECT count(*) FROM shop_item") == [(201,)]
    assert site.recorded() == ["0001_initial"]
    assert site.scratch_databases() == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("filter(quantity__gt=0).update(quantity=0)", "500 rows updated, 0 in the rehearsal"),
        ("filter(quantity__gt=0).delete()", "500 rows deleted, 0 in the rehearsal"),
    ],
    ids=["41 update", "41 delete"],
)
def test_a_mass_change_of_rows_that_was_not_rehearsed_is_undone_with_its_numbers(
    site: Site, body: str, says: str
) -> None:
    condition = 'if "scratch" not in editor.connection.settings_dict["NAME"]:'
    change = f'{condition} apps.get_model("shop", "Order").objects.{body}'
    site.migration("0002_mass", "migrations.RunPython(change)", header=_function(change))
    site.ends_undone("rows changed differently than in the rehearsal", f"shop_order: {says}")


# --- Helpers ----------------------------------------------------------------------------------


def _function(body: str) -> str:
    """The function ``change`` of a migration, in its class's body."""
    return f"def change(apps, editor):\n        {body}\n"


def _checksum(text: str) -> str:
    found = re.search(r"approve[^\n]* ([0-9a-f]{12})\b", text)
    assert found, text
    return str(found[1])


def _read_until(process: Any, words: str) -> str:
    """What a process says until it says these words."""
    said = ""
    for line in process.stdout:
        said += str(line)
        if words in line:
            return said
    pytest.fail(f"it ended without {words!r}:\n{said}")


def test_rows_that_a_savepoint_brings_back_are_not_lost(site: Site) -> None:
    # HAZARDS 39: PostgreSQL counts them as deleted
    site.migration("0002_add", ADD)
    run_python(site, "0003_try", TRY_TO_DELETE, after="0002_add")
    site.ends_done()
    assert site.sql("SELECT count(*) FROM shop_order") == [(500,)]
