"""A schema is read whole, is the same after a dump, and does not depend on generated names."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from unittest.mock import patch

import pytest
from catalogues import SHOP, connected, undone
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from projects import query

from embedded_postgres import Cluster
from postdo.base.database import rows
from postdo.schema import catalogue, queries
from postdo.schema.catalogue import Catalogue, Entry

TABLE = "public.shop_item"


@pytest.fixture(scope="module")
def shop(postgres: Cluster) -> Iterator[str]:
    """The URL of a database with the shop in it; tests leave it as it is."""
    with postgres.fresh_database(f"test_{secrets.token_hex(6)}") as url:
        query(url, SHOP)
        yield url


@pytest.fixture
def session(shop: str) -> Iterator[BaseDatabaseWrapper]:
    with connected(shop) as one:
        yield one


def one(read: Catalogue, kind: str, name: str, table: str = "") -> Entry:
    found = [
        entry
        for entry in read.of(kind)
        if entry.name == name and (not table or entry.table == table)
    ]
    assert len(found) == 1, [entry.name for entry in read.of(kind)]
    return found[0]


@pytest.mark.parametrize(
    ("kind", "table", "name", "facts"),
    [
        ("schema", "", "public", {}),
        ("type", "", "public.mood", {"form": "enum", "labels": "'new', 'paid', 'it''s sent'"}),
        ("type", "", "public.size", {"attributes": "width integer, height integer"}),
        (
            *("type", "", "public.percent"),
            {"base": "integer", "default": "0", "constraints": "CHECK ((VALUE <= 100))"},
        ),
        ("collation", "", "public.plain", {"provider": "c", "locale": "C", "deterministic": "yes"}),
        ("table", TABLE, "shop_item", {"persistence": "logged", "row security": "no"}),
        ("table", "public.shop_day", "shop_day", {"partition key": "RANGE (day)"}),
        ("table", "public.shop_day_2026", "shop_day_2026", {"parent": "public.shop_day"}),
        (
            *("column", TABLE, "name"),
            {"type": "character varying(50)", "nullable": "no", "default": "", "identity": ""},
        ),
        ("column", TABLE, "id", {"type": "integer", "identity": "d", "default": ""}),
        ("column", TABLE, "code", {"collation": "public.plain"}),
        ("column", TABLE, "price", {"type": "numeric(8,2)", "default": "0", "nullable": "no"}),
        ("column", TABLE, "total", {"generated": "s", "default": "(price * (2)::numeric)"}),
        ("column", TABLE, "status", {"type": "public.mood", "default": "'new'::public.mood"}),
        ("column", "public.shop_category", "id", {"type": "bigint", "identity": "d"}),
        (
            *("constraint", TABLE, "shop_item_category_fk"),
            {
                "type": "f",
                "columns": "category_id",
                "definition": "FOREIGN KEY (category_id) REFERENCES public.shop_category(id) "
                "DEFERRABLE INITIALLY DEFERRED",
                "valid": "yes",
                "deferrable": "yes",
            },
        ),
        ("constraint", TABLE, "shop_item_pkey", {"type": "p", "columns": "id"}),
        (
            *("index", TABLE, "shop item, code"),
            {
                "definition": "CREATE UNIQUE INDEX ON public.shop_item USING btree "
                "(lower(code), name) WHERE (code IS NOT NULL)",
                "unique": "yes",
                "columns": "lower(code),name",
                "valid": "yes",
                "predicate": "(code IS NOT NULL)",
            },
        ),
        ("index", TABLE, "shop_item_name", {"unique": "no", "columns": "name", "predicate": ""}),
        ("sequence", TABLE, "public.shop_item_id_seq", {"column": "id", "type": "integer"}),
        ("sequence", "", "public.shop_ticket", {"column": "", "start": "1000", "cycle": "no"}),
        ("view", "public.shop_cheap", "shop_cheap", {"form": "view", "reads": TABLE}),
        ("view", "public.shop_count", "shop_count", {"form": "materialized view"}),
        ("trigger", TABLE, "shop_touched", {"enabled": "O"}),
        ("policy", TABLE, "shop_visible", {"command": "SELECT", "roles": "PUBLIC"}),
        ("function", "", "public.shop_touch()", {"form": "function", "returns": "trigger"}),
        ("function", "", "public.shop_sum(integer)", {"form": "aggregate"}),
    ],
)
def test_each_kind_of_object_is_read_with_its_facts(
    session: BaseDatabaseWrapper, kind: str, table: str, name: str, facts: dict[str, str]
) -> None:
    entry = one(catalogue.read(session), kind, name, table)
    assert entry.table == table
    assert {fact: entry.facts[fact] for fact in facts} == facts


def test_every_fact_is_a_text(session: BaseDatabaseWrapper) -> None:
    values = [v for entry in catalogue.read(session).entries for v in entry.facts.values()]
    assert len(values) > 200
    assert {type(value) for value in values} == {str}


def test_what_is_postgresqls_our_own_temporary_or_an_extensions_is_not_read(database: str) -> None:
    query(database, "CREATE SCHEMA postdo_journal; CREATE TABLE postdo_journal.run (id int)")
    query(
        database,
        "CREATE FUNCTION tool() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE gear (id int);"
        "ALTER EXTENSION plpgsql ADD FUNCTION tool(); ALTER EXTENSION plpgsql ADD TABLE gear",
    )
    with connected(database) as session:
        rows(session, "CREATE TEMP TABLE scratch (id int)")
        found = [(entry.kind, entry.name) for entry in catalogue.read(session).entries]
    assert found == [("schema", "public")]


def test_a_changed_definition_changes_the_checksum(session: BaseDatabaseWrapper) -> None:
    before = catalogue.read(session)
    with undone(session):
        rows(session, "ALTER TABLE shop_item ALTER note SET NOT NULL")
        assert catalogue.read(session).checksum != before.checksum


def test_the_checksum_does_not_depend_on_the_order_of_what_was_read(
    session: BaseDatabaseWrapper,
) -> None:
    before = catalogue.read(session)
    assert replace(before, entries=before.entries[::-1]).checksum == before.checksum
    assert replace(before, entries=before.entries[1:]).checksum != before.checksum


def test_one_constraint_more_of_the_same_definition_changes_the_checksum(
    session: BaseDatabaseWrapper,
) -> None:
    before = catalogue.read(session)
    with undone(session):
        rows(session, "ALTER TABLE shop_item ADD CHECK (price >= 0)")
        assert catalogue.read(session).checksum != before.checksum


def test_what_is_written_as_json_is_read_back_the_same(session: BaseDatabaseWrapper) -> None:
    before = catalogue.read(session)
    after = catalogue.from_json(before.to_json())
    assert after == before
    assert after.checksum == before.checksum
    assert after.major >= 14


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "[]",
        json.dumps({"format": catalogue.FORMAT + 1, "major": 17, "entries": []}),
        json.dumps({"format": catalogue.FORMAT, "entries": []}),
        json.dumps({"format": catalogue.FORMAT, "major": "17", "entries": []}),
        json.dumps({"format": catalogue.FORMAT, "major": 17, "entries": 3}),
        json.dumps({"format": catalogue.FORMAT, "major": 17, "entries": [["table", "t"]]}),
        json.dumps({"format": catalogue.FORMAT, "major": 17, "entries": [["table", "t", "t", 1]]}),
        json.dumps(
            {"format": catalogue.FORMAT, "major": 17, "entries": [["a", "b", "c", {"d": 1}]]}
        ),
    ],
)
def test_damaged_json_or_another_format_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        catalogue.from_json(text)


def test_a_role_without_any_rights_reads_the_same(shop: str, session: BaseDatabaseWrapper) -> None:
    name = f"reader_{secrets.token_hex(4)}"
    rows(session, f"CREATE ROLE {name} LOGIN PASSWORD 'only for tests'")
    try:
        with connected(shop, user=name, password="only for tests") as plain:
            ((superuser,),) = rows(
                plain, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
            )
            found = catalogue.read(plain)
    finally:
        rows(session, f"DROP ROLE {name}")
    assert superuser is False
    assert found == catalogue.read(session)


def test_inside_a_transaction_its_own_changes_are_seen_and_its_settings_kept(
    session: BaseDatabaseWrapper,
) -> None:
    with undone(session):
        rows(session, "SET LOCAL search_path = shop_private, public")
        rows(session, "SET LOCAL DateStyle = 'German, DMY'")
        rows(session, "CREATE TABLE uncommitted (id int)")
        found = catalogue.read(session)
        ((path, style),) = rows(
            session, "SELECT current_setting('search_path'), current_setting('DateStyle')"
        )
        ((still_there,),) = rows(session, "SELECT to_regclass('public.uncommitted') IS NOT NULL")
    assert "public.uncommitted" in found.tables
    assert (path, style) == ("shop_private, public", "German, DMY")
    assert still_there


def test_inside_djangos_atomic_nothing_is_committed_or_ended(session: BaseDatabaseWrapper) -> None:
    ours = patch.object(transaction, "get_connection", return_value=session)
    with ours, transaction.atomic():
        rows(session, "CREATE TABLE uncommitted (id int)")
        assert "public.uncommitted" in catalogue.read(session).tables
        transaction.set_rollback(True)
    assert "public.uncommitted" not in catalogue.read(session).tables


def test_outside_a_transaction_none_is_left_open_and_settings_are_kept(
    session: BaseDatabaseWrapper,
) -> None:
    rows(session, "SET search_path = public")
    catalogue.read(session)
    ((path,),) = rows(session, "SHOW search_path")
    rows(session, "CREATE TABLE writable (id int)")
    rows(session, "DROP TABLE writable")
    assert path == "public"
    assert session.connection.info.transaction_status == catalogue.IDLE


def test_how_a_session_is_set_does_not_change_what_is_read(
    session: BaseDatabaseWrapper, database: str
) -> None:
    query(
        database,
        "CREATE TABLE dated (day date DEFAULT '2026-03-04', at timestamptz DEFAULT"
        " '2026-03-04 10:00+00', span interval DEFAULT '1 day 2 hours', b bytea DEFAULT '\\x00ff')",
    )
    with connected(database) as one_session:
        before = catalogue.read(one_session)
    with connected(database) as other:
        rows(other, "SET DateStyle = 'German, DMY'; SET TimeZone = 'Asia/Tokyo'")
        rows(other, "SET IntervalStyle = 'sql_standard'; SET quote_all_identifiers = on")
        rows(other, "SET bytea_output = 'escape'; SET search_path = public")
        assert catalogue.read(other) == before


def test_an_object_dropped_meanwhile_is_no_error(
    session: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt meets an object that has vanished; the second snapshot does not show it."""
    asked: list[str] = []

    def vanishing(one: BaseDatabaseWrapper, sql: str, *values: object) -> list[tuple[object, ...]]:
        asked.append(sql)
        if sql == queries.MAJOR and asked.count(sql) == 1:
            return rows(one, "SELECT 'public.gone'::regclass")
        return rows(one, sql, *values)

    monkeypatch.setattr(catalogue, "rows", vanishing)
    assert TABLE in catalogue.read(session).tables
    assert asked.count(catalogue.BEGIN) == 2
