"""HAZARDS 20 to 23: somebody changed the schema by hand before the migrations came."""

from __future__ import annotations

from dataclasses import replace

import pytest

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

UNIQUE = 'migrations.AlterUniqueTogether("item", {("name", "price")})'
NOT_UNIQUE = 'migrations.AlterUniqueTogether("item", set())'


# --- 20, 21: columns and tables ---------------------------------------------------------------


def test_a_column_made_by_hand_as_the_migration_makes_it_is_adopted_by_recording_it(
    site: Site,
) -> None:
    # HAZARDS 20
    site.sql("ALTER TABLE shop_item ADD COLUMN weight integer; UPDATE shop_item SET weight = 7")
    site.migration("0002_weight", WEIGHT)
    site.ends_refused(
        'column "weight" of relation "shop_item" already exists',
        "shop.0002_weight is not recorded as applied, but its changes are in the schema",
    )
    found = site.run("drift")
    assert found.code == 3
    assert "postdo drift --record shop.0002_weight" in found.err
    before = site.snapshot()
    assert site.run("drift", "--record", "shop.0002_weight").code == 0
    assert site.recorded() == ["0001_initial", "0002_weight"]
    assert site.snapshot().tables["public.shop_item"] == before.tables["public.shop_item"]
    site.ends_done()
    assert site.run("drift").code == 0


def test_a_column_made_by_hand_in_another_way_is_refused_and_never_recorded(site: Site) -> None:
    # HAZARDS 20
    site.sql("ALTER TABLE shop_item ADD COLUMN weight text")
    site.migration("0002_weight", WEIGHT)
    refused = site.ends_refused("already exists", "postdo drift")
    assert "is not recorded as applied" not in refused.err
    before = site.snapshot()
    assert site.run("drift", "--record", "shop.0002_weight").code == 3
    assert site.snapshot() == before
    mend(site)
    site.ends_done()


@pytest.mark.parametrize(
    ("by_hand", "operations", "says"),
    [
        ("DROP TABLE shop_order", SIZE, "shop_order"),
        ("ALTER TABLE shop_item DROP COLUMN note", WEIGHT, "column shop_item.note is missing"),
        (
            "ALTER TABLE shop_item DROP COLUMN note",
            'migrations.RenameField("item", "note", "remark")',
            'column "note" does not exist',
        ),
    ],
    ids=["21 table", "21 column", "21 the very column"],
)
def test_what_was_dropped_by_hand_is_refused_and_can_be_made_again(
    site: Site, by_hand: str, operations: str, says: str
) -> None:
    site.sql(by_hand)
    site.migration("0002_change", operations)
    site.ends_refused(says, "postdo drift", **ALLOWED)
    mend(site)
    site.ends_done(**ALLOWED)


# --- 22: blocks only where a migration works --------------------------------------------------


def test_a_column_changed_by_hand_blocks_a_migration_of_its_table_and_no_other(
    site: Site,
) -> None:
    # HAZARDS 22: each kind of change by itself is one alarm in tests/unit/test_postdo_diff
    site.sql("UPDATE shop_item SET note = '' WHERE note IS NULL")
    site.sql(
        "ALTER TABLE shop_item ALTER price TYPE bigint, ALTER note SET NOT NULL,"
        " ALTER name DROP NOT NULL, ALTER name SET DEFAULT 'none'"
    )
    site.migration("0002_size", SIZE)
    site.ends_done()
    site.migration("0003_weight", WEIGHT, after="0002_size")
    refused = site.ends_refused(
        "column shop_item.price is bigint, expected integer",
        "column shop_item.note does not accept NULL",
        "column shop_item.name accepts NULL",
        "has the default 'none'",
        "ON_DRIFT",
    )
    assert "testing the SQL" not in refused.out  # `drift` does, on a second copy
    mend(site)
    site.ends_done()


def test_the_policy_decides_over_drift_and_an_approval_is_for_that_drift(site: Site) -> None:
    # HAZARDS 22: whatever a rehearsal would find
    site.environment["REHEARSE"] = "off"
    site.sql("ALTER TABLE shop_item ALTER price TYPE bigint")
    site.migration("0002_weight", WEIGHT)
    asked = site.ends_refused("--approve ", ON_DRIFT="ask")
    checksum = asked.err.split("--approve ")[1].split()[0].strip("`.,;)")
    site.ends_refused("set ON_DRIFT=ask", POSTDO_APPROVE=checksum)
    site.sql("ALTER TABLE shop_item ALTER name DROP NOT NULL")
    site.ends_refused(
        f"the approval {checksum} is for another plan", ON_DRIFT="ask", POSTDO_APPROVE=checksum
    )
    site.sql("ALTER TABLE shop_item ALTER name SET NOT NULL")
    site.ends_done("migrate", "--approve", checksum, ON_DRIFT="ask")
    # What was tolerated once stays a difference.
    site.migration("0003_more", WIDER, after="0002_weight")
    site.ends_refused("column shop_item.price is bigint, expected integer", **ALLOWED)
    site.ends_done(ON_DRIFT="allow", **ALLOWED)
    assert "column shop_item.price is bigint" in site.run("drift").out


# --- 23: other names --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "operations",
    [
        'migrations.AlterField("order", "item", models.ForeignKey("shop.Item", models.CASCADE, '
        "db_constraint=False))",
        'migrations.RemoveField("order", "item")',
    ],
    ids=["23 constraint dropped", "23 column dropped"],
)
def test_a_renamed_foreign_key_is_no_drift_and_is_found_by_what_it_says(
    site: Site, operations: str
) -> None:
    ((name,),) = site.sql(FOREIGN_KEY)
    site.sql(f'ALTER TABLE shop_order RENAME CONSTRAINT "{name}" TO made_by_an_older_django')
    assert site.run("drift").code == 0
    site.migration("0002_change", operations)
    site.ends_done(ON_LOSS="allow", **ALLOWED)
    assert site.sql(FOREIGN_KEY) == []
    assert site.run("drift").code == 0


@pytest.mark.parametrize(
    ("by_hand", "count"),
    [
        ("ALTER TABLE shop_item DROP CONSTRAINT {name}", 0),
        (
            "ALTER TABLE shop_item RENAME CONSTRAINT {name} TO older;"
            "ALTER TABLE shop_item ADD CONSTRAINT once_more UNIQUE (name, price)",
            2,
        ),
    ],
    ids=["23 none", "23 two"],
)
def test_a_constraint_that_django_finds_not_once_is_refused_with_the_way_out(
    site: Site, by_hand: str, count: int
) -> None:
    site.migration("0002_unique", UNIQUE)
    site.ends_done(**ALLOWED)
    ((name,),) = site.sql(
        "SELECT conname::text FROM pg_constraint"
        " WHERE contype = 'u' AND conrelid = 'shop_item'::regclass"
    )
    site.sql(by_hand.format(name=name))
    site.migration("0003_not_unique", NOT_UNIQUE, after="0002_unique")
    site.ends_refused(f"Found wrong number ({count}) of constraints", "postdo drift")
    mend(site)
    site.ends_done()


def test_a_named_constraint_that_was_renamed_is_refused_with_its_name_of_now(site: Site) -> None:
    # HAZARDS 23: constraints of Meta are dropped by name, and only by name.
    constraint = 'models.UniqueConstraint(fields=["name"], name="one_name")'
    site.migration("0002_named", f'migrations.AddConstraint("item", {constraint})')
    site.ends_done(**ALLOWED)
    site.sql("ALTER TABLE shop_item RENAME CONSTRAINT one_name TO other_name")
    assert site.run("drift").code == 0
    operation = 'migrations.RemoveConstraint("item", "one_name")'
    site.migration("0003_unnamed", operation, after="0002_named")
    site.ends_refused(
        'constraint "one_name"', "does not exist", "conname=other_name, definition=UNIQUE (name)"
    )
    site.sql("ALTER TABLE shop_item RENAME CONSTRAINT other_name TO one_name")
    site.ends_done()


# --- The command ------------------------------------------------------------------------------


DIFFERENCES = {
    "ALTER TABLE shop_item DROP COLUMN note": "column shop_item.note is missing",
    "ALTER TABLE shop_item ADD COLUMN weight integer": "unexpected column shop_item.weight",
    "ALTER TABLE shop_item ALTER price DROP NOT NULL": "column shop_item.price accepts NULL",
    "ALTER TABLE shop_item ALTER name TYPE varchar(80)": "is character varying(80), expected",
    "ALTER TABLE shop_item ADD CONSTRAINT low CHECK (price < 1000)": "check constraint low on",
    "ALTER TABLE shop_order ENABLE ROW LEVEL SECURITY": "table shop_order has row security yes",
    FUNCTION + TRIGGER: "unexpected trigger noted on shop_item",
    POLICY: "unexpected policy shown on shop_item",
    VIEW: "unexpected view dear, which reads shop_item",
    "CREATE INDEX by_hand ON shop_order (quantity)": "index by_hand on shop_order",
}


def test_drift_says_all_differences_at_once_and_its_sql_removes_them(site: Site) -> None:
    assert site.run("drift").code == 0
    before = site.run("drift", "--json").report["result"]
    assert before == {"differences": [], "explanations": [], "repaired": None}
    for statement in DIFFERENCES:
        site.sql(statement)
    rows = site.snapshot()
    found = site.run("drift")
    assert found.code == 3
    assert "postdo: refused: the schema has drifted in 9 places" in found.err
    for says in DIFFERENCES.values():
        assert says in " ".join(found.out.split()), f"it does not say {says!r}:\n{found.out}"
    assert 'DROP VIEW IF EXISTS "public"."dear";' in found.out
    assert site.snapshot() == rows
    executed = mend(site)
    shown = " ".join(found.out.split())
    for statement in executed:
        bare = [row for row in statement.splitlines() if not row.startswith("--")]
        assert " ".join(" ".join(bare).split()) in shown, f"{statement}\n{found.out}"
    assert site.run("drift").code == 0


# --- The SQL that it prints -------------------------------------------------------------------


def scripts(site: Site) -> dict[str, tuple[str, ...]]:
    """What ``drift`` says, with the SQL that it shows for it."""
    found = site.run("drift", "--json").report["result"]["differences"]
    return {one["what"]: (*one["sql"], one["why"]) for one in found}


def test_sql_that_fails_on_the_rows_or_cuts_them_off_is_not_shown(site: Site) -> None:
    """What is shown can be pasted; for the rest it says what stands in the way."""
    site.sql(
        "ALTER TABLE shop_item ALTER name TYPE text; UPDATE shop_item SET name = repeat('x', 60)"
        " WHERE id = 1; ALTER TABLE shop_item ALTER price DROP NOT NULL;"
        "UPDATE shop_item SET price = NULL WHERE id = 2; ALTER TABLE shop_order DROP item_id;"
        "ALTER TABLE shop_item ADD more int"
    )
    before = site.snapshot()
    found = scripts(site)
    assert site.snapshot() == before
    shown = {what: told for what, told in found.items() if "COMMIT;" in told}
    assert [what for what in shown if "shop_item.more" in what], found
    reasons = " ".join(told[-1] for what, told in found.items() if what not in shown)
    assert "value too long for type character varying(50)" in reasons
    assert "contains null values" in reasons
    assert len(shown) == 1
    text = site.run("drift").out
    assert "no SQL: the repair failed on a copy: " in " ".join(text.split())
    for sql, *_ in shown.values():
        assert sql in text


def test_where_no_copy_can_be_made_no_sql_is_shown(site: Site) -> None:
    site.sql("ALTER TABLE shop_item ADD more int")
    found = scripts(replace(site, environment={**site.environment, "POSTDO_PG_BIN": "/nowhere"}))
    ((told,),) = found.values()
    assert told.startswith("it could not be tested on a copy: no pg_dump and pg_restore")
