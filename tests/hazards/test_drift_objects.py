"""HAZARDS 24 to 30: what was made or changed by hand beside the columns."""

from __future__ import annotations

import re

import pytest
from projects import need_icu

from .by_hand import (
    ALLOWED,
    FOREIGN_KEY,
    FUNCTION,
    POLICY,
    SIZE,
    TRIGGER,
    VIEW,
    WEIGHT,
    WIDER,
    mend,
)
from .site import Site

# --- 24, 25: what is there and does not hold --------------------------------------------------


def test_an_invalid_index_is_told_and_blocks_until_it_is_gone(site: Site) -> None:
    # HAZARDS 24
    with pytest.raises(Exception, match="could not create unique index"):
        site.sql("CREATE UNIQUE INDEX CONCURRENTLY by_price ON shop_item (price)")
    index = 'models.Index(fields=["price"], name="by_price")'
    site.migration("0002_index", f'migrations.AddIndex("item", {index})')
    site.ends_refused("unexpected invalid unique index by_price on shop_item (price)")
    # A dump leaves it out, so that the rehearsal cannot meet it.
    site.ends_undone('relation "by_price" already exists', ON_DRIFT="allow")
    mend(site)
    site.ends_done()


def test_an_index_of_a_migration_that_became_invalid_is_made_again(site: Site) -> None:
    # HAZARDS 24
    index = 'models.Index(fields=["price"], name="by_price")'
    site.migration("0002_index", f'migrations.AddIndex("item", {index})')
    site.ends_done()
    site.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'by_price'::regclass")
    site.migration("0003_weight", WEIGHT, after="0002_index")
    site.ends_refused("index by_price on shop_item is invalid")
    mend(site)
    site.ends_done()


def test_a_constraint_that_was_never_validated_is_told_also_where_rows_break_it(
    site: Site,
) -> None:
    # HAZARDS 25
    ((name,),) = site.sql(FOREIGN_KEY)
    site.sql(f'ALTER TABLE shop_order DROP CONSTRAINT "{name}"')
    site.sql(
        "UPDATE shop_order SET item_id = 9999 WHERE id = 1;"
        "ALTER TABLE shop_order ADD CONSTRAINT later FOREIGN KEY (item_id)"
        " REFERENCES shop_item (id) DEFERRABLE INITIALLY DEFERRED NOT VALID"
    )
    site.migration("0002_size", SIZE)
    site.ends_refused("later on shop_order (item_id) is NOT VALID")
    site.sql("UPDATE shop_order SET item_id = 1 WHERE id = 1")
    mend(site)
    site.ends_done()


# --- 26: sequences ----------------------------------------------------------------------------


def test_a_sequence_behind_the_rows_is_noticed_and_fails_in_the_rehearsal_only(
    site: Site,
) -> None:
    # HAZARDS 26
    site.sql("SELECT setval('shop_item_id_seq', 5)")
    site.migration("0002_weight", WEIGHT)
    problems = [one for one in site.plan()["problems"] if one["hazard"] == 26]
    assert [one["what"] for one in problems] == [
        "the next value of sequence shop_item_id_seq is 6, but shop_item.id already has 200: an "
        "INSERT can fail"
    ]
    insert = 'def add(apps, editor):\n        apps.get_model("shop", "Item").objects.create()\n'
    site.migration("0003_row", "migrations.RunPython(add)", after="0002_weight", header=insert)
    site.ends_refused("duplicate key value", "shop.0003_row")
    site.sql(problems[0]["next_step"].removeprefix("set it: "))
    site.ends_done()
    assert site.sql("SELECT max(id) FROM shop_item") == [(201,)]


def test_a_sequence_that_belongs_elsewhere_is_told_and_brought_back(site: Site) -> None:
    # HAZARDS 26
    site.sql(
        "ALTER TABLE shop_item ALTER id DROP IDENTITY; CREATE SEQUENCE shop_item_id_seq;"
        "ALTER TABLE shop_item ALTER id SET DEFAULT nextval('shop_item_id_seq');"
        "SELECT setval('shop_item_id_seq', 200)"
    )
    site.migration("0002_weight", WEIGHT)
    site.ends_refused("shop_item_id_seq belongs to no column, expected shop_item.id")
    mend(site)
    site.ends_done()


# --- 27: what depends on a column -------------------------------------------------------------


@pytest.mark.parametrize(
    ("by_hand", "drop", "create"),
    [
        (VIEW, 'DROP VIEW IF EXISTS "public"."dear";', 'CREATE VIEW "public"."dear" AS'),
        (
            FUNCTION + TRIGGER,
            'DROP TRIGGER IF EXISTS "noted" ON "public"."shop_item";',
            "CREATE TRIGGER noted",
        ),
        (
            POLICY,
            'DROP POLICY IF EXISTS "shown" ON "public"."shop_item";',
            'CREATE POLICY "shown" ON',
        ),
    ],
    ids=["27 view", "27 trigger", "27 policy"],
)
def test_what_depends_on_a_changed_column_is_refused_with_the_sql_to_drop_and_recreate(
    site: Site, by_hand: str, drop: str, create: str
) -> None:
    site.sql(by_hand)
    site.migration("0002_wider", WIDER)
    refused = site.ends_refused("cannot alter type of a column", drop, create, **ALLOWED)
    again = re.findall(r"after the release: (.*)", refused.err)
    assert len(again) == 1
    site.sql(drop)
    site.ends_done(**ALLOWED)
    site.sql(again[0])


ADOPTED = "VIEW cheap AS SELECT id FROM shop_order WHERE quantity < 3"


def test_what_a_migration_drops_and_makes_again_is_its_own_from_then_on(site: Site) -> None:
    """The remedy of the refusal word for word; and a view that a migration takes over as it is."""
    site.sql(f"{VIEW}; {FUNCTION} {TRIGGER}; {POLICY}; CREATE {ADOPTED}")
    wider = site.migration("0002_wider", WIDER)
    site.ends_refused("drop it in an earlier migration and create it again", **ALLOWED)
    found = site.run("drift", "--json").report["result"]["differences"]
    told = [(one["sql"], one["again"]) for one in found if one["alarm"] and "cheap" not in str(one)]
    assert len(told) == 3
    drop, again = ([text for sql in side for text in sql[1:-1]] for side in zip(*told, strict=True))
    wider.unlink()
    site.migration("0002_drop", f"migrations.RunSQL({drop})")
    site.migration("0003_wider", WIDER, after="0002_drop")
    # A migration makes the function too, or none of it would run on a new database.
    adopt = [f"CREATE OR REPLACE {ADOPTED}", FUNCTION.replace("CREATE", "CREATE OR REPLACE", 1)]
    site.migration("0004_again", f"migrations.RunSQL({[*adopt, *again]})", after="0003_wider")

    done = site.run("migrate", **ALLOWED)

    assert done.code == 0, done.out + done.err
    looked = site.run("drift")
    assert looked.code == 0, looked.out + looked.err
    assert "unexpected" not in looked.out


# --- 28 to 30 ---------------------------------------------------------------------------------


def test_an_index_on_a_collation_of_another_version_is_refused_until_it_is_reindexed(
    site: Site,
) -> None:
    # HAZARDS 28
    need_icu(site.project.url)
    site.migration(
        "0002_german",
        "migrations.RunSQL(\"CREATE COLLATION german (provider = icu, locale = 'de');"
        'ALTER TABLE shop_item ALTER name TYPE varchar(50) COLLATE german")',
    )
    site.ends_done()
    site.sql("UPDATE pg_collation SET collversion = '1.1' WHERE collname = 'german'")
    site.migration("0003_weight", WEIGHT, after="0002_german")
    (problem,) = [one for one in site.plan()["problems"] if one["hazard"] == 28]
    assert not problem["blocking"]
    index = 'models.Index(fields=["name"], name="by_name")'
    site.migration("0004_index", f'migrations.AddIndex("item", {index})', after="0003_weight")
    site.ends_refused("collation german were built with its version 1.1", "REINDEX")
    site.sql("ALTER COLLATION german REFRESH VERSION")
    site.ends_done()


def test_serial_instead_of_identity_and_an_index_made_by_hand_are_no_alarm(site: Site) -> None:
    # HAZARDS 29, 30
    site.sql(
        "ALTER TABLE shop_item ALTER id DROP IDENTITY; CREATE SEQUENCE shop_item_id_seq;"
        "ALTER SEQUENCE shop_item_id_seq OWNED BY shop_item.id;"
        "ALTER TABLE shop_item ALTER id SET DEFAULT nextval('shop_item_id_seq');"
        "SELECT setval('shop_item_id_seq', 200); CREATE INDEX by_hand ON shop_item (price)"
    )
    looked = site.run("drift")
    assert looked.code == 0, looked.out + looked.err
    assert "unexpected index by_hand on shop_item (price)" in " ".join(looked.out.split())
    site.migration("0002_weight", WEIGHT)
    site.ends_done()
    assert site.sql("SELECT count(*) FROM pg_class WHERE relname = 'by_hand'") == [(1,)]
