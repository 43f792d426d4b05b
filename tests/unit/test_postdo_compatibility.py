"""The release that is serving against the new schema: what it cannot live with, and the way."""

from __future__ import annotations

import pytest

from postdo.compatibility.compare import Clash, clashes
from postdo.journal.model_usage import ColumnUse, ModelUse, TableUse
from postdo.journal.serialization import from_json, to_json
from postdo.rehearsal.trace import Rename
from postdo.schema.catalogue import Catalogue, Entry

# By hand: one table, `shop_item`, and what becomes of it.

ITEM = TableUse(
    "shop.Item",
    "shop_item",
    (
        ColumnUse("id", "bigint", null=False, default=True, field="id"),
        ColumnUse("name", "character varying(50)", null=False, field="name"),
        ColumnUse("note", "text", null=True, field="note"),
        ColumnUse("category_id", "bigint", null=True, field="category"),
    ),
)
SERVING = ModelUse("v1", (ITEM,))


def column(
    name: str,
    kind: str,
    nullable: str = "no",
    table: str = "public.shop_item",
    **facts: str,
) -> Entry:
    usual = {"type": kind, "nullable": nullable, "default": "", "identity": "", "generated": ""}
    return Entry("column", table, name, {**usual, **facts})


def rule(name: str, kind: str, columns: str, definition: str, **facts: str) -> Entry:
    usual = {"type": kind, "columns": columns, "definition": definition, "valid": "yes"}
    return Entry("constraint", "public.shop_item", name, {**usual, "deferrable": "no", **facts})


def index(name: str, columns: str, predicate: str = "", unique: str = "yes") -> Entry:
    definition = f"CREATE UNIQUE INDEX ON public.shop_item USING btree ({columns})"
    facts = {"unique": unique, "columns": columns, "definition": definition, "valid": "yes"}
    return Entry("index", "public.shop_item", name, {**facts, "predicate": predicate})


def schema(*entries: Entry, table: str = "public.shop_item") -> Catalogue:
    home = Entry("table", table, table.partition(".")[2], {})
    return Catalogue(15, (home, *entries))


ID = column("id", "bigint", identity="d")
NAME = column("name", "character varying(50)")
NOTE = column("note", "text", "yes")
CATEGORY = column("category_id", "bigint", "yes")
KEY = rule("shop_item_pkey", "p", "id", "PRIMARY KEY (id)")
BEFORE = schema(ID, NAME, NOTE, CATEGORY, KEY)


def changed(
    *more: Entry, without: tuple[Entry, ...] = (), before: Catalogue = BEFORE
) -> tuple[Clash, ...]:
    """The clashes after some entries are gone and others are there."""
    kept = tuple(entry for entry in before.entries if entry not in without)
    return clashes(SERVING, before, Catalogue(15, (*kept, *more)))


def only(found: tuple[Clash, ...]) -> Clash:
    assert len(found) == 1, [clash.what for clash in found]
    assert found[0].steps
    assert found[0].table == "public.shop_item"
    return found[0]


def test_an_unchanged_schema_is_compatible() -> None:
    assert changed() == ()


def test_a_dropped_column_breaks_reading_and_leaves_in_two_releases() -> None:
    clash = only(changed(without=(NOTE,)))
    assert (clash.what, clash.breaks) == ("column shop_item.note is dropped", "reads")
    assert 'RemoveField("item", "note")' in clash.steps[0]
    assert 'ALTER TABLE "shop_item" DROP COLUMN "note"' in clash.steps[1]


def test_a_renamed_column_is_one_clash_and_names_the_new_name() -> None:
    title = column("title", "character varying(50)")
    unique = rule("title_key", "u", "title", "UNIQUE (title)")
    clash = only(changed(title, unique, without=(NAME,)))
    assert clash.what == "column shop_item.name is dropped (perhaps renamed to title)"
    assert 'db_column="name"' in clash.steps[0]
    assert 'SET "title" = "name"' in clash.steps[1]


def test_of_two_renamed_columns_of_one_type_each_finds_its_own() -> None:
    old = [column(name, "text", position=str(at)) for at, name in enumerate(("a", "b"))]
    new = [column(name, "text", position=str(at)) for at, name in enumerate(("x", "y"))]
    use = ModelUse("", (TableUse("a.B", "t", tuple(ColumnUse(n, "text", False) for n in "ab")),))
    entries = [Entry(e.kind, "public.t", e.name, e.facts) for e in (*old, *new)]
    before = schema(*entries[:2], table="public.t")
    after = schema(*entries[2:], table="public.t")
    assert [clash.what for clash in clashes(use, before, after)] == [
        "column t.a is dropped (perhaps renamed to x)",
        "column t.b is dropped (perhaps renamed to y)",
    ]
    crossed = (Rename("public.t", "a", "y"), Rename("public.t", "b", "x"))
    assert [clash.what for clash in clashes(use, before, after, crossed)] == [
        "column t.a is renamed to y",
        "column t.b is renamed to x",
    ]


def test_a_column_that_only_looks_renamed_is_dropped_where_that_is_known() -> None:
    """29: the migration adds one and removes another."""
    kept = tuple(entry for entry in BEFORE.entries if entry != NAME)
    after = Catalogue(15, (*kept, column("title", "character varying(50)")))
    found = [clash.what for clash in clashes(SERVING, BEFORE, after, ())]
    assert "column shop_item.name is dropped" in found
    assert not [what for what in found if "renamed" in what or "may be" in what]


def test_a_dropped_table_breaks_reading() -> None:
    found = clashes(SERVING, BEFORE, Catalogue(15, ()))
    assert only(found).what == "table shop_item is dropped"
    assert 'DeleteModel("Item")' in only(found).steps[0]


def test_a_renamed_table_is_told_from_a_dropped_one() -> None:
    entries = tuple(
        Entry(one.kind, "public.shop_article", one.name, one.facts) for one in BEFORE.entries
    )
    clash = only(clashes(SERVING, BEFORE, Catalogue(15, entries)))
    assert clash.what == "table shop_item is dropped (perhaps renamed to shop_article)"
    assert 'db_table = "shop_item"' in clash.steps[0]


def test_a_table_that_becomes_a_view_breaks_writing() -> None:
    view = Entry("view", "public.shop_item", "shop_item", {"definition": "SELECT 1"})
    clash = only(clashes(SERVING, BEFORE, Catalogue(15, (view, ID, NAME, NOTE, CATEGORY))))
    assert (clash.what, clash.breaks) == ("table shop_item becomes a view", "writes")


def test_a_wider_column_is_compatible() -> None:
    assert changed(column("name", "text"), without=(NAME,)) == ()


def test_a_narrower_column_breaks_writing_only() -> None:
    clash = only(changed(column("name", "character varying(20)"), without=(NAME,)))
    assert clash.breaks == "writes"
    assert "from character varying(50) to character varying(20)" in clash.what
    assert "TYPE character varying(20)" in clash.steps[1]


def test_a_column_as_narrow_as_the_serving_models_are_is_compatible() -> None:
    wide = column("name", "character varying(90)")
    before = schema(ID, wide, NOTE, CATEGORY, KEY)
    assert changed(NAME, without=(wide,), before=before) == ()


def test_another_type_breaks_reading() -> None:
    clash = only(changed(column("note", "jsonb", "yes"), without=(NOTE,)))
    assert clash.breaks == "reads"
    assert '"note_new" of type jsonb' in clash.steps[0]


def test_a_column_that_takes_no_null_any_more_breaks_writing_even_with_a_default() -> None:
    note = column("note", "text", default="''::text")
    clash = only(changed(note, without=(NOTE,)))
    assert clash.breaks == "writes"
    assert "becomes NOT NULL" in clash.what
    assert "NOT VALID" in clash.steps[1]


def test_not_null_is_compatible_once_the_serving_models_write_none() -> None:
    use = ModelUse("v2", (TableUse("shop.Item", "shop_item", (ColumnUse("note", "text", False),)),))
    before, after = schema(NOTE), schema(column("note", "text"))
    assert clashes(use, before, after) == ()


def test_a_check_against_null_is_the_same_as_not_null() -> None:
    check = rule("note_filled", "c", "note", "CHECK ((note IS NOT NULL))")
    assert "forbids NULL in note" in only(changed(check)).what
    assert changed(rule("name_filled", "c", "name", "CHECK ((name IS NOT NULL))")) == ()


def test_a_new_column_that_wants_a_value_breaks_writing() -> None:
    clash = only(changed(column("price", "integer")))
    assert clash.breaks == "writes"
    assert "column shop_item.price is new: NOT NULL without a default" in clash.what
    assert "db_default" in clash.steps[0]


@pytest.mark.parametrize(
    "new",
    [
        column("price", "integer", "yes"),
        column("price", "integer", default="0"),
        column("price", "bigint", identity="a"),
        column("price", "integer", generated="s", default="(1 + 1)"),
    ],
)
def test_a_new_column_that_fills_itself_is_compatible(new: Entry) -> None:
    assert changed(new) == ()


def test_an_unknown_column_that_loses_its_default_breaks_writing() -> None:
    before = schema(ID, NAME, NOTE, CATEGORY, KEY, column("price", "integer", default="0"))
    gone = tuple(entry for entry in before.entries if entry.name == "price")
    found = changed(column("price", "integer"), without=gone, before=before)
    assert "column shop_item.price changes: NOT NULL without a default" in only(found).what


def test_a_key_that_loses_its_identity_breaks_inserting() -> None:
    clash = only(changed(column("id", "bigint"), without=(ID,)))
    assert (clash.breaks, "loses its default" in clash.what) == ("writes", True)


def test_a_written_column_that_is_generated_now_breaks_writing() -> None:
    note = column("note", "text", "yes", generated="s", default="upper(name)")
    assert "becomes a generated column" in only(changed(note, without=(NOTE,))).what
    name = column("name", "character varying(50)", identity="a")
    assert "becomes a generated column" in only(changed(name, without=(NAME,))).what


def test_a_key_that_is_always_generated_is_compatible_because_inserts_leave_it_out() -> None:
    assert changed(column("id", "bigint", identity="a"), without=(ID,)) == ()


def test_a_new_unique_constraint_breaks_writing_and_is_told_once() -> None:
    unique = rule("shop_item_name_key", "u", "name", "UNIQUE (name)")
    clash = only(changed(unique, index("shop_item_name_like", "name")))
    assert clash.breaks == "writes"
    assert "unique constraint or index shop_item_name_key on shop_item (name) is new" in clash.what
    assert "AddConstraint" in clash.steps[0]


@pytest.mark.parametrize(
    "new",
    [
        index("lower_name", "lower((name)::text)"),
        index("part", "name", predicate="(note IS NULL)"),
        rule("apart", "x", "name", "EXCLUDE USING gist (name WITH =)"),
        rule("long", "c", "name", "CHECK ((length(name) > 3))"),
    ],
)
def test_a_new_rule_on_written_columns_breaks_writing(new: Entry) -> None:
    assert only(changed(new)).breaks == "writes"


def test_an_index_that_is_not_unique_is_compatible() -> None:
    assert changed(index("plain", "name", unique="no")) == ()


def test_more_columns_than_an_older_unique_constraint_are_compatible() -> None:
    assert changed(rule("both", "u", "id,name", "UNIQUE (id, name)")) == ()


def test_a_unique_constraint_over_a_constant_that_the_old_code_never_writes_breaks_writing() -> (
    None
):
    code = column("code", "text", default="''::text")
    unique = rule("code_key", "u", "code", "UNIQUE (code)")
    assert "code_key" in only(changed(code, unique)).what


@pytest.mark.parametrize(
    "code",
    [
        column("code", "text", "yes"),
        column("code", "uuid", default="gen_random_uuid()"),
        column("code", "bigint", identity="d"),
    ],
)
def test_a_unique_constraint_over_values_that_differ_by_themselves_is_compatible(
    code: Entry,
) -> None:
    assert changed(code, rule("code_key", "u", "code", "UNIQUE (code)")) == ()


def test_nulls_that_count_as_equal_break_writing() -> None:
    unique = rule("code_key", "u", "code", "UNIQUE NULLS NOT DISTINCT (code)")
    assert "code_key" in only(changed(column("code", "text", "yes"), unique)).what


def test_a_check_on_a_column_that_the_old_code_does_not_know_is_compatible() -> None:
    price = column("price", "integer", default="0")
    assert changed(price, rule("price_check", "c", "price", "CHECK ((price >= 0))")) == ()


FOREIGN = "FOREIGN KEY (category_id) REFERENCES public.{to}(id)"


def test_a_new_foreign_key_breaks_writing() -> None:
    key = rule("category_fk", "f", "category_id", FOREIGN.format(to="shop_category"))
    clash = only(changed(key))
    assert "foreign key category_fk on shop_item (category_id) to shop_category" in clash.what
    assert "db_constraint=False" in clash.steps[0]
    assert "NOT VALID" in clash.steps[1]


def test_a_foreign_key_under_another_name_is_the_same_one() -> None:
    old = rule("hand_made", "f", "category_id", FOREIGN.format(to="shop_category"))
    new = rule("category_fk", "f", "category_id", FOREIGN.format(to="shop_category"))
    before = schema(ID, NAME, NOTE, CATEGORY, KEY, old)
    assert changed(new, without=(old,), before=before) == ()


def test_a_foreign_key_that_cannot_wait_for_the_commit_any_more_breaks_writing() -> None:
    text = FOREIGN.format(to="shop_category")
    old = rule("fk", "f", "category_id", f"{text} DEFERRABLE", deferrable="yes")
    new = rule("fk", "f", "category_id", text)
    before = schema(ID, NAME, NOTE, CATEGORY, KEY, old)
    assert only(changed(new, without=(old,), before=before)).breaks == "writes"


def test_a_rule_that_the_serving_models_know_is_compatible() -> None:
    known = (
        "constraint long_name",
        "unique name,note",
        "foreign category_id shop_category",
        "check length(name) < 40",
    )
    use = ModelUse("v2", (TableUse("shop.Item", "shop_item", ITEM.columns, known[:3]),))
    after = Catalogue(
        15,
        (
            *BEFORE.entries,
            rule("long_name", "c", "name", "CHECK ((length(name) > 3))"),
            rule("pair", "u", "note,name", "UNIQUE (note, name)"),
            rule("fk", "f", "category_id", FOREIGN.format(to="shop_category")),
        ),
    )
    assert clashes(use, BEFORE, after) == ()
    assert len(clashes(SERVING, BEFORE, after)) == 3


def test_another_condition_under_a_known_name_breaks_writing() -> None:
    use = ModelUse("v2", (TableUse("shop.Item", "shop_item", ITEM.columns, ("constraint long",)),))
    old = rule("long", "c", "name", "CHECK ((length(name) > 3))")
    new = rule("long", "c", "name", "CHECK ((length(name) > 30))")
    before, after = schema(NAME, old), schema(NAME, new)
    assert [clash.breaks for clash in clashes(use, before, after)] == ["writes"]


def test_what_was_broken_already_is_no_clash() -> None:
    before = schema(ID, column("name", "integer"), column("price", "integer"))
    assert clashes(SERVING, before, before) == ()
    assert clashes(SERVING, Catalogue(15, ()), Catalogue(15, ())) == ()


def test_a_table_outside_public_is_found_and_public_comes_first() -> None:
    def both(*names: str) -> Catalogue:
        entries = (Entry("column", f"{name}.shop_item", "name", NAME.facts) for name in names)
        tables = (Entry("table", f"{name}.shop_item", "shop_item", {}) for name in names)
        return Catalogue(15, (*tables, *entries))

    found = clashes(SERVING, both("tenant"), both())
    assert [clash.what for clash in found] == ["table tenant.shop_item is dropped"]
    assert clashes(SERVING, both("public", "backup"), both("public")) == ()


def test_what_a_release_uses_survives_the_journal() -> None:
    use = ModelUse("v1", (TableUse("a.B", "a_b", ITEM.columns, ("unique name",)),))
    assert from_json(ModelUse, to_json(use)) == use
