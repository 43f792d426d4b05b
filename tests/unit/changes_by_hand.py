"""What people do to a database by hand, each with what has to be said of it."""

from __future__ import annotations

from dataclasses import dataclass

ITEM = "public.shop_item"
CATEGORY = "public.shop_category"
# What a failed CREATE INDEX CONCURRENTLY leaves, without its two transactions.
INVALID = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{index}'::regclass"


@dataclass(frozen=True)
class Change:
    """Something done by hand, and the one alarm that it must give: kind, table, name."""

    sql: str
    alarm: tuple[str, str, str]
    says: str

    @property
    def rare(self) -> bool:
        """Whether no SQL takes it back: only a person can know what else hangs on it."""
        kind, *_ = self.alarm
        return kind in ("schema", "collation", "type", "function") or "persistence" in self.says


CHANGES = {
    # Columns
    "column dropped": Change(
        "ALTER TABLE shop_item DROP COLUMN note",
        ("column", ITEM, "note"),
        "column shop_item.note is missing",
    ),
    "column with a default dropped": Change(
        'ALTER TABLE shop_category DROP COLUMN "order"',
        ("column", CATEGORY, "order"),
        "column shop_category.order is missing",
    ),
    "computed column dropped": Change(
        "ALTER TABLE shop_item DROP COLUMN total",
        ("column", ITEM, "total"),
        "column shop_item.total is missing",
    ),
    "column added": Change(
        "ALTER TABLE shop_item ADD COLUMN weight integer",
        ("column", ITEM, "weight"),
        "unexpected column shop_item.weight",
    ),
    "column added with all that can be on it": Change(
        "ALTER TABLE shop_category ADD COLUMN ref bigserial UNIQUE CHECK (ref > 0)"
        " REFERENCES shop_category; CREATE INDEX ON shop_category (ref)",
        ("column", CATEGORY, "ref"),
        "unexpected column shop_category.ref",
    ),
    "column of a partitioned table added": Change(
        "ALTER TABLE shop_day ADD COLUMN weight integer",
        ("column", "public.shop_day", "weight"),
        "unexpected column shop_day.weight",
    ),
    "type widened": Change(
        "ALTER TABLE shop_item ALTER note TYPE varchar(500)",
        ("column", ITEM, "note"),
        "column shop_item.note is character varying(500), expected text",
    ),
    "type of a column with a default": Change(
        'ALTER TABLE shop_category ALTER "order" TYPE text, ALTER "order" SET DEFAULT \'0\'',
        ("column", CATEGORY, "order"),
        "column shop_category.order is text, expected integer",
    ),
    "type of a column that a view reads": Change(
        "DROP VIEW shop_cheap; ALTER TABLE shop_item ALTER name TYPE varchar(80);"
        "CREATE VIEW shop_cheap AS SELECT id, name FROM shop_item WHERE price < 10",
        ("column", ITEM, "name"),
        "column shop_item.name is character varying(80), expected character varying(50)",
    ),
    "collation": Change(
        'ALTER TABLE shop_item ALTER code TYPE text COLLATE "default"',
        ("column", ITEM, "code"),
        "column shop_item.code is text, expected text COLLATE public.plain",
    ),
    "collation given": Change(
        'ALTER TABLE shop_item ALTER note TYPE text COLLATE "C"',
        ("column", ITEM, "note"),
        'column shop_item.note is text COLLATE pg_catalog."C", expected text',
    ),
    "NOT NULL dropped": Change(
        "ALTER TABLE shop_item ALTER name DROP NOT NULL",
        ("column", ITEM, "name"),
        "column shop_item.name accepts NULL",
    ),
    "NOT NULL set": Change(
        "ALTER TABLE shop_item ALTER category_id SET NOT NULL",
        ("column", ITEM, "category_id"),
        "column shop_item.category_id does not accept NULL",
    ),
    "default changed": Change(
        "ALTER TABLE shop_item ALTER price SET DEFAULT 5",
        ("column", ITEM, "price"),
        "column shop_item.price has the default 5, expected 0",
    ),
    "default dropped": Change(
        "ALTER TABLE shop_item ALTER status DROP DEFAULT",
        ("column", ITEM, "status"),
        "column shop_item.status has the default none, expected 'new'::public.mood",
    ),
    "default set": Change(
        "ALTER TABLE shop_item ALTER note SET DEFAULT 'x'",
        ("column", ITEM, "note"),
        "column shop_item.note has the default 'x'::text, expected none",
    ),
    "expression dropped": Change(
        "ALTER TABLE shop_item ALTER total DROP EXPRESSION",
        ("column", ITEM, "total"),
        "column shop_item.total is not generated, expected generated as (price * (2)::numeric)",
    ),
    "identity dropped": Change(
        "ALTER TABLE shop_category ALTER id DROP IDENTITY",
        ("column", CATEGORY, "id"),
        "column shop_category.id is no identity, expected identity by default",
    ),
    "identity always": Change(
        "ALTER TABLE shop_category ALTER id SET GENERATED ALWAYS",
        ("column", CATEGORY, "id"),
        "column shop_category.id is identity always, expected identity by default",
    ),
    "identity given": Change(
        'ALTER TABLE shop_category ALTER "order" DROP DEFAULT,'
        ' ALTER "order" ADD GENERATED BY DEFAULT AS IDENTITY',
        ("column", CATEGORY, "order"),
        "column shop_category.order is identity by default, expected no identity",
    ),
    "default of a serial column dropped": Change(
        "ALTER TABLE shop_item ALTER id DROP DEFAULT",
        ("column", ITEM, "id"),
        "column shop_item.id is no identity, expected identity by default",
    ),
    # Sequences
    "sequence of a serial column dropped": Change(
        "DROP SEQUENCE shop_item_id_seq CASCADE",
        ("column", ITEM, "id"),
        "column shop_item.id is no identity, expected identity by default",
    ),
    "sequence belongs to nobody": Change(
        "ALTER SEQUENCE shop_item_id_seq OWNED BY NONE",
        ("sequence", ITEM, "public.shop_item_id_seq"),
        "sequence shop_item_id_seq belongs to no column, expected shop_item.id",
    ),
    "sequence belongs to another column": Change(
        "ALTER SEQUENCE shop_item_id_seq OWNED BY shop_item.note",
        ("sequence", ITEM, "public.shop_item_id_seq"),
        "sequence shop_item_id_seq belongs to shop_item.note, expected shop_item.id",
    ),
    "free sequence given to a column": Change(
        "ALTER SEQUENCE shop_ticket OWNED BY shop_item.note",
        ("sequence", ITEM, "public.shop_ticket"),
        "sequence shop_ticket belongs to shop_item.note, expected no column",
    ),
    "sequence with other steps": Change(
        "ALTER SEQUENCE shop_item_id_seq INCREMENT 10",
        ("sequence", ITEM, "public.shop_item_id_seq"),
        "sequence shop_item_id_seq has increment 10, expected 1",
    ),
    "sequence of a smaller type": Change(
        "ALTER SEQUENCE shop_ticket AS integer",
        ("sequence", "", "public.shop_ticket"),
        "sequence shop_ticket has type integer, expected bigint",
    ),
    "free sequence dropped": Change(
        "DROP SEQUENCE shop_ticket",
        ("sequence", "", "public.shop_ticket"),
        "sequence shop_ticket is missing",
    ),
    # Constraints
    "foreign key dropped": Change(
        "ALTER TABLE shop_item DROP CONSTRAINT shop_item_category_fk",
        ("constraint", ITEM, "shop_item_category_fk"),
        "foreign key constraint shop_item_category_fk on shop_item (category_id) is missing",
    ),
    "foreign key with another action": Change(
        "ALTER TABLE shop_item DROP CONSTRAINT shop_item_category_fk,"
        " ADD CONSTRAINT other FOREIGN KEY (category_id) REFERENCES shop_category"
        " ON DELETE CASCADE",
        ("constraint", ITEM, "other"),
        "ON DELETE CASCADE, expected FOREIGN KEY",
    ),
    "foreign key twice": Change(
        "ALTER TABLE shop_item ADD CONSTRAINT a_second_one FOREIGN KEY (category_id)"
        " REFERENCES shop_category DEFERRABLE INITIALLY DEFERRED",
        ("constraint", ITEM, "a_second_one"),
        "unexpected foreign key constraint a_second_one on shop_item (category_id)",
    ),
    "foreign key not valid": Change(
        "ALTER TABLE shop_item DROP CONSTRAINT shop_item_category_fk,"
        " ADD CONSTRAINT unchecked FOREIGN KEY (category_id) REFERENCES shop_category"
        " DEFERRABLE INITIALLY DEFERRED NOT VALID",
        ("constraint", ITEM, "unchecked"),
        "foreign key constraint unchecked on shop_item (category_id) is NOT VALID",
    ),
    "check dropped": Change(
        "ALTER TABLE shop_item DROP CONSTRAINT shop_item_price_check",
        ("constraint", ITEM, "shop_item_price_check"),
        "check constraint shop_item_price_check on shop_item (price) is missing",
    ),
    "check added": Change(
        'ALTER TABLE shop_item ADD CONSTRAINT "too dear" CHECK (price < 1000)',
        ("constraint", ITEM, "too dear"),
        "unexpected check constraint too dear on shop_item (price)",
    ),
    "check changed": Change(
        "ALTER TABLE shop_item DROP CONSTRAINT shop_item_shade_check,"
        " ADD CONSTRAINT shop_item_shade_check CHECK (shade IN ('red', 'green'))",
        ("constraint", ITEM, "shop_item_shade_check"),
        "constraint shop_item_shade_check on shop_item is CHECK",
    ),
    "unique dropped": Change(
        "ALTER TABLE shop_category DROP CONSTRAINT shop_category_name_key",
        ("constraint", CATEGORY, "shop_category_name_key"),
        "unique constraint shop_category_name_key on shop_category (name) is missing",
    ),
    "unique added": Change(
        "ALTER TABLE shop_item ADD CONSTRAINT once UNIQUE (name, id)",
        ("constraint", ITEM, "once"),
        "unexpected unique constraint once on shop_item (name,id)",
    ),
    "primary key dropped": Change(
        "ALTER TABLE shop_tagging DROP CONSTRAINT shop_tagging_pkey",
        ("constraint", "public.shop_tagging", "shop_tagging_pkey"),
        "primary key constraint shop_tagging_pkey on shop_tagging (id) is missing",
    ),
    # Indexes
    "index dropped": Change(
        "DROP INDEX shop_item_name",
        ("index", ITEM, "shop_item_name"),
        "index shop_item_name on shop_item (name) is missing",
    ),
    "unique index dropped": Change(
        'DROP INDEX "shop item, code"',
        ("index", ITEM, "shop item, code"),
        "unique index shop item, code on shop_item (lower(code),name) is missing",
    ),
    "index of a view dropped": Change(
        "DROP INDEX shop_count_status",
        ("index", "public.shop_count", "shop_count_status"),
        "index shop_count_status on shop_count (status) is missing",
    ),
    "index of a partitioned table dropped": Change(
        "DROP INDEX shop_day_sold",
        ("index", "public.shop_day", "shop_day_sold"),
        "index shop_day_sold on shop_day (sold) is missing",
    ),
    "index changed": Change(
        "DROP INDEX shop_item_name; CREATE INDEX shop_item_name ON shop_item (name DESC)",
        ("index", ITEM, "shop_item_name"),
        "index shop_item_name on shop_item is CREATE INDEX",
    ),
    "unique index added": Change(
        "CREATE UNIQUE INDEX one_name ON shop_item (name)",
        ("index", ITEM, "one_name"),
        "unexpected unique index one_name on shop_item (name)",
    ),
    "index invalid": Change(
        INVALID.format(index="shop_item_name"),
        ("index", ITEM, "shop_item_name"),
        "index shop_item_name on shop_item is invalid",
    ),
    "invalid index added": Change(
        "CREATE INDEX left_over ON shop_item (note); " + INVALID.format(index="left_over"),
        ("index", ITEM, "left_over"),
        "unexpected invalid index left_over on shop_item (note)",
    ),
    "invalid twin of an index": Change(
        "CREATE INDEX a_twin ON shop_item (name); " + INVALID.format(index="a_twin"),
        ("index", ITEM, "a_twin"),
        "unexpected invalid index a_twin on shop_item (name)",
    ),
    # Tables
    "table dropped": Change(
        "DROP TABLE shop_tagging",
        ("table", "public.shop_tagging", "shop_tagging"),
        "table shop_tagging is missing",
    ),
    "table unlogged": Change(
        "ALTER TABLE shop_tagging SET UNLOGGED",
        ("table", "public.shop_tagging", "shop_tagging"),
        "table shop_tagging has persistence unlogged, expected logged",
    ),
    "row security": Change(
        "ALTER TABLE shop_item ENABLE ROW LEVEL SECURITY",
        ("table", ITEM, "shop_item"),
        "table shop_item has row security yes, expected no",
    ),
    "row security forced": Change(
        "ALTER TABLE shop_item FORCE ROW LEVEL SECURITY",
        ("table", ITEM, "shop_item"),
        "table shop_item has forced row security yes, expected no",
    ),
    # Views, triggers, policies, functions
    "view dropped": Change(
        "DROP VIEW shop_cheap",
        ("view", "public.shop_cheap", "shop_cheap"),
        "view shop_cheap is missing",
    ),
    "view changed": Change(
        "CREATE OR REPLACE VIEW shop_cheap AS SELECT id, name FROM shop_item WHERE price < 3",
        ("view", "public.shop_cheap", "shop_cheap"),
        "view shop_cheap has another definition",
    ),
    "view with another column": Change(
        "CREATE OR REPLACE VIEW shop_cheap AS SELECT id, name, code FROM shop_item",
        ("view", "public.shop_cheap", "shop_cheap"),
        "view shop_cheap has another definition",
    ),
    "materialized view changed": Change(
        "ALTER MATERIALIZED VIEW shop_count SET (autovacuum_enabled = off)",
        ("view", "public.shop_count", "shop_count"),
        "materialized view shop_count has another definition",
    ),
    "view on a known table added": Change(
        "CREATE VIEW by_hand AS SELECT price FROM shop_item",
        ("view", ITEM, "public.by_hand"),
        "unexpected view by_hand, which reads shop_item",
    ),
    "trigger dropped": Change(
        "DROP TRIGGER shop_touched ON shop_item",
        ("trigger", ITEM, "shop_touched"),
        "trigger shop_touched on shop_item is missing",
    ),
    "trigger disabled": Change(
        "ALTER TABLE shop_item DISABLE TRIGGER shop_touched",
        ("trigger", ITEM, "shop_touched"),
        "trigger shop_touched on shop_item is disabled",
    ),
    "trigger changed": Change(
        "CREATE OR REPLACE TRIGGER shop_touched BEFORE UPDATE ON shop_item"
        " FOR EACH ROW EXECUTE FUNCTION shop_touch()",
        ("trigger", ITEM, "shop_touched"),
        "trigger shop_touched on shop_item has another definition",
    ),
    "trigger added": Change(
        'CREATE TRIGGER "by hand" AFTER DELETE ON shop_item'
        " FOR EACH ROW EXECUTE FUNCTION shop_touch()",
        ("trigger", ITEM, "by hand"),
        "unexpected trigger by hand on shop_item",
    ),
    "constraint trigger added": Change(
        "CREATE CONSTRAINT TRIGGER later AFTER INSERT ON shop_item DEFERRABLE"
        " FOR EACH ROW EXECUTE FUNCTION shop_touch()",
        ("trigger", ITEM, "later"),
        "unexpected trigger later on shop_item",
    ),
    "policy dropped": Change(
        "DROP POLICY shop_visible ON shop_item",
        ("policy", ITEM, "shop_visible"),
        "policy shop_visible on shop_item is missing",
    ),
    "policy added": Change(
        "CREATE POLICY all_of_it ON shop_category AS RESTRICTIVE USING (true) WITH CHECK (id > 0)",
        ("policy", CATEGORY, "all_of_it"),
        "unexpected policy all_of_it on shop_category",
    ),
    "policy changed": Change(
        "ALTER POLICY shop_visible ON shop_item USING (price > 1)",
        ("policy", ITEM, "shop_visible"),
        "policy shop_visible on shop_item has using",
    ),
    "function dropped": Change(
        "DROP FUNCTION shop_double(integer)",
        ("function", "", "public.shop_double(integer)"),
        "function shop_double(integer) is missing",
    ),
    "function changed": Change(
        "CREATE OR REPLACE FUNCTION shop_double(integer) RETURNS integer LANGUAGE sql IMMUTABLE"
        " AS 'SELECT $1 * 3'",
        ("function", "", "public.shop_double(integer)"),
        "function shop_double(integer) has another definition",
    ),
    "function returns something else": Change(
        "DROP FUNCTION shop_double(integer); CREATE FUNCTION shop_double(integer) RETURNS text"
        " LANGUAGE sql AS 'SELECT ''x'''",
        ("function", "", "public.shop_double(integer)"),
        "function shop_double(integer) has another definition",
    ),
    "aggregate dropped": Change(
        "DROP AGGREGATE shop_sum(integer)",
        ("function", "", "public.shop_sum(integer)"),
        "aggregate shop_sum(integer) is missing",
    ),
    # Types and collations
    "label renamed": Change(
        "ALTER TYPE mood RENAME VALUE 'paid' TO 'bought'",
        ("type", "", "public.mood"),
        "type mood has labels 'new', 'bought', 'it''s sent', expected 'new', 'paid',",
    ),
    "type dropped": Change(
        "DROP TYPE shade_name",
        ("type", "", "public.shade_name"),
        "type shade_name is missing",
    ),
    "label lost": Change(
        "DROP TYPE shade_name; CREATE TYPE shade_name AS ENUM ('green')",
        ("type", "", "public.shade_name"),
        "type shade_name has labels 'green', expected 'red', 'green', 'blue'",
    ),
    "domain dropped": Change(
        "DROP DOMAIN short",
        ("type", "", "public.short"),
        "type short is missing",
    ),
    "collation dropped": Change(
        "DROP COLLATION spare",
        ("collation", "", "public.spare"),
        "collation spare is missing",
    ),
    "collation changed": Change(
        "DROP COLLATION spare; CREATE COLLATION spare (PROVIDER = libc, LOCALE = 'POSIX')",
        ("collation", "", "public.spare"),
        "collation spare has locale POSIX, expected C",
    ),
    "schema dropped": Change(
        "DROP SCHEMA archive",
        ("schema", "", "archive"),
        "schema archive is missing",
    ),
    "label added": Change(
        "ALTER TYPE mood ADD VALUE 'lost' BEFORE 'paid'",
        ("type", "", "public.mood"),
        "type mood has labels 'new', 'lost', 'paid', 'it''s sent', expected 'new', 'paid',",
    ),
}

# Those of the following that no SQL takes back.
RARE = ("function", "type", "schema", "options of a table")
# What does not matter: the SQL, and how its one line of information begins.
INFORMATION = {
    "table with everything on it": (
        "CREATE TABLE extra (id serial PRIMARY KEY, item_id int REFERENCES shop_item,"
        " a int UNIQUE);"
        "CREATE INDEX ON extra (item_id); CREATE POLICY p ON extra USING (true);"
        "CREATE TRIGGER t BEFORE INSERT ON extra FOR EACH ROW EXECUTE FUNCTION shop_touch()",
        "unexpected table extra",
    ),
    "plain index": (
        "CREATE INDEX quicker ON shop_item (note)",
        "unexpected index quicker on shop_item (note)",
    ),
    "second plain index that says the same": (
        "CREATE INDEX a_twin ON shop_item (name)",
        "unexpected index a_twin on shop_item (name)",
    ),
    "view on no known table": (
        "CREATE VIEW numbers AS SELECT generate_series(1, 3)",
        "unexpected view numbers",
    ),
    "function": (
        "CREATE FUNCTION helper(a text) RETURNS text LANGUAGE sql AS 'SELECT a'",
        "unexpected function helper(a text)",
    ),
    "free sequence": (
        "CREATE SEQUENCE counter",
        "unexpected sequence counter",
    ),
    "type": (
        "CREATE TYPE colour AS ENUM ('red')",
        "unexpected type colour",
    ),
    "schema": (
        "CREATE SCHEMA reporting",
        "unexpected schema reporting",
    ),
    "options of a table": (
        "ALTER TABLE shop_item SET (fillfactor = 80, autovacuum_enabled = off)",
        "table shop_item has options autovacuum_enabled=off, fillfactor=80, expected none",
    ),
    "a sequence that gives more numbers": (
        "ALTER SEQUENCE shop_item_id_seq AS bigint",
        "sequence shop_item_id_seq has type bigint, expected integer, maximum",
    ),
    "a sequence that would restart elsewhere": (
        "ALTER SEQUENCE shop_item_id_seq START 7",
        "sequence shop_item_id_seq has start 7, expected 1",
    ),
}
