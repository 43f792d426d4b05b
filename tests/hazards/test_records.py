"""HAZARDS 12, 13: a record is corrected only where that is proved, and costs no row."""

from __future__ import annotations

import re

import pytest

from .site import Site

DOUBLES = """
CREATE TYPE shop_mood AS ENUM ('new', 'paid');
CREATE TABLE shop_log (id int PRIMARY KEY, mood shop_mood);
CREATE OR REPLACE FUNCTION shop_price(i int) RETURNS int LANGUAGE sql AS 'SELECT i';
UPDATE shop_item SET price = price * 2;
"""
BY_HAND = {
    "changed": "CREATE OR REPLACE FUNCTION shop_price(i int) RETURNS int LANGUAGE sql"
    " AS 'SELECT i + 1'; CREATE INDEX by_price ON shop_item (price);"
    "ALTER TYPE shop_mood ADD VALUE 'sent'; ALTER TABLE shop_log SET UNLOGGED;"
    "ALTER TABLE shop_item ENABLE ROW LEVEL SECURITY",
    "dropped": "DROP FUNCTION shop_price(int)",
}


@pytest.mark.parametrize("by_hand", BY_HAND.values(), ids=BY_HAND)
def test_a_migration_that_changed_rows_is_never_unrecorded(site: Site, by_hand: str) -> None:
    site.migration("0002_f", f"migrations.RunSQL({DOUBLES!r})")
    site.ends_done()
    site.sql(by_hand)
    before = site.snapshot()
    found = site.run("drift")
    assert found.code == 3, found.out
    assert "function shop_price(i integer)" in found.out
    assert "--unrecord" not in found.out + found.err
    refused = site.run("drift", "--unrecord", "shop.0002_f")
    assert "the schema does not prove that shop.0002_f is wrongly recorded" in refused.err
    assert refused.code == 3
    site.ends_done()
    assert site.snapshot() == before, "applied once, and no row doubled"


@pytest.mark.parametrize(
    ("operation", "by_hand"),
    [
        (
            'migrations.AddField("item", "weight", models.IntegerField(default=3))',
            "ALTER TABLE shop_item DROP COLUMN weight",
        ),
        (
            'migrations.RenameField("item", "price", "cost")',
            "ALTER TABLE shop_item RENAME cost TO price",
        ),
    ],
    ids=["column", "rename"],
)
def test_what_drift_says_of_a_record_is_followed_word_for_word_and_loses_nothing(
    site: Site, operation: str, by_hand: str
) -> None:
    allowed = {"ON_INCOMPATIBLE": "allow"}
    site.migration("0002_change", operation)
    site.ends_done(**allowed)
    before = site.snapshot()
    site.sql(by_hand)
    found = site.run("drift")
    words = re.findall(
        r"postdo: next: .*postdo (drift --unrecord shop\.0002_change)", found.err + found.out
    )
    assert words, found.out + found.err
    assert site.run(*words[0].split()).code == 0
    site.ends_done(**allowed)
    after = site.snapshot()
    assert after.tables["public.shop_item"] == before.tables["public.shop_item"]
    assert site.run("drift").code == 0


def test_tables_from_before_there_were_migrations_are_recorded_as_the_remedy_says(
    site: Site,
) -> None:
    before = site.snapshot()
    site.sql("DELETE FROM django_migrations WHERE app = 'shop'; DROP SCHEMA postdo_journal CASCADE")
    refused = site.run("migrate")
    assert refused.code == 3
    assert "drift` to see whether it was made by hand" in refused.err
    found = site.run("drift")
    words = re.findall("(drift --record shop.0001_initial)", found.err + found.out)
    assert words, found.out + found.err
    assert site.run(*words[0].split()).code == 0
    site.ends_done()
    after = site.snapshot()
    assert after.schema == before.schema
    items = ("public.shop_item", "public.shop_order")
    assert [after.tables[name] for name in items] == [before.tables[name] for name in items]


def test_what_could_not_be_applied_again_is_not_unrecorded(site: Site) -> None:
    """Rehearsed on a copy: the rows that came meanwhile do not allow it."""
    constraint = 'models.UniqueConstraint(fields=["name"], name="one_name")'
    site.migration("0002_named", f'migrations.AddConstraint("item", {constraint})')
    site.ends_done(ON_INCOMPATIBLE="allow")
    site.sql(
        "ALTER TABLE shop_item DROP CONSTRAINT one_name;"
        "INSERT INTO shop_item (name, price) SELECT 'twice', 1 FROM generate_series(1, 2)"
    )
    before = site.snapshot()
    found = site.run("drift")
    assert found.code == 3, found.out
    assert "--unrecord" not in found.out + found.err
    assert "the repair failed on a copy: could not create unique index" in " ".join(
        found.out.split()
    )
    assert "fix the differences that have no SQL by hand" in found.err
    assert site.run("drift", "--unrecord", "shop.0002_named").code == 3
    assert site.snapshot() == before
