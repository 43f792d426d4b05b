"""What was changed by hand is named, and the SQL that is printed takes exactly that back."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace

import pytest
from catalogues import SHOP, connected, undone
from changes_by_hand import CHANGES, INFORMATION, RARE
from django.db.backends.base.base import BaseDatabaseWrapper
from projects import query

from embedded_postgres import Cluster
from postdo.base.database import rows
from postdo.schema import catalogue
from postdo.schema.catalogue import Catalogue
from postdo.schema.diff import Difference, compare
from postdo.schema.normalize import worded

ROWS = "SELECT (SELECT count(*) FROM shop_item), (SELECT count(*) FROM shop_category)"
NEXT_ID = "INSERT INTO {table} (name) VALUES ('one more') RETURNING id"


@pytest.fixture(scope="module")
def shop(postgres: Cluster) -> Iterator[str]:
    """The URL of a database with the shop in it; every test rolls back what it does."""
    with postgres.fresh_database(f"test_{secrets.token_hex(6)}") as url:
        query(url, SHOP)
        yield url


@pytest.fixture(scope="module")
def expected(shop: str) -> Catalogue:
    with connected(shop) as session:
        return catalogue.read(session)


@pytest.fixture
def session(shop: str) -> Iterator[BaseDatabaseWrapper]:
    """A session in a transaction that is rolled back."""
    with connected(shop) as one, undone(one):
        yield one


def differences(expected: Catalogue, session: BaseDatabaseWrapper) -> tuple[Difference, ...]:
    return compare(expected, worded(session, catalogue.read(session), expected))


def alarms(found: tuple[Difference, ...]) -> list[Difference]:
    return [one for one in found if one.alarm]


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_by_hand_is_one_alarm_and_its_sql_takes_it_back(
    name: str, expected: Catalogue, session: BaseDatabaseWrapper
) -> None:
    change = CHANGES[name]
    before = rows(session, ROWS)
    rows(session, change.sql)
    (alarm,) = alarms(differences(expected, session))
    assert (alarm.kind, alarm.table, alarm.name) == change.alarm
    assert alarm.what.startswith(change.says) or change.says in alarm.what
    assert "\n" not in alarm.what
    assert bool(alarm.sql) is not change.rare, "SQL that removes it, where it is not rare"
    if change.rare:
        return
    for statement in alarm.sql:
        rows(session, statement)
    left = [one.what for one in differences(expected, session) if "another order" not in one.what]
    assert left == []
    assert rows(session, ROWS) == before


def test_the_sql_of_many_changes_runs_in_the_order_in_which_it_is_printed(
    expected: Catalogue, session: BaseDatabaseWrapper
) -> None:
    rows(session, "SET CONSTRAINTS ALL IMMEDIATE")
    rows(
        session,
        "DROP TABLE shop_tagging, shop_tag; DROP TRIGGER shop_touched ON shop_item;"
        "DROP VIEW shop_cheap, shop_most; DROP MATERIALIZED VIEW shop_count;"
        "ALTER TABLE shop_item DROP CONSTRAINT shop_item_category_fk;"
        "ALTER TABLE shop_category DROP CONSTRAINT shop_category_pkey, DROP COLUMN name;"
        "ALTER TABLE shop_item ALTER status TYPE text USING status::text;"
        "ALTER TABLE shop_item DROP COLUMN price CASCADE, DROP COLUMN note",
    )
    rows(session, "TRUNCATE shop_item, shop_category")  # a NOT NULL column comes back to no rows
    found = alarms(differences(expected, session))
    assert len(found) > 15
    for one in found:
        for statement in one.sql:
            rows(session, statement)
    assert alarms(differences(expected, session)) == []


@pytest.mark.parametrize("name", INFORMATION)
def test_what_does_not_matter_is_one_information_and_its_sql_takes_it_back(
    name: str, expected: Catalogue, session: BaseDatabaseWrapper
) -> None:
    sql, says = INFORMATION[name]
    rows(session, sql)
    (found,) = differences(expected, session)
    assert found.what.startswith(says)
    assert not found.alarm
    if not found.sql:
        assert name in RARE
        return
    for statement in found.sql:
        rows(session, statement)
    assert differences(expected, session) == ()


def test_serial_where_identity_is_expected_is_information_and_not_an_alarm(
    expected: Catalogue, session: BaseDatabaseWrapper
) -> None:
    rows(
        session,
        "ALTER TABLE shop_category ALTER id DROP IDENTITY; CREATE SEQUENCE of_old"
        " OWNED BY shop_category.id; ALTER TABLE shop_category ALTER id"
        " SET DEFAULT nextval('of_old')",
    )
    actual = catalogue.read(session)
    (found,) = compare(expected, actual)
    assert found.what == "column shop_category.id is serial, expected identity; both work the same"
    assert not found.alarm
    assert actual.checksum == expected.checksum


def test_columns_in_another_order_are_information(
    expected: Catalogue, session: BaseDatabaseWrapper
) -> None:
    rows(session, 'ALTER TABLE shop_category DROP "order"')
    rows(session, 'ALTER TABLE shop_category ADD "order" integer NOT NULL DEFAULT 0')
    rows(session, "ALTER TABLE shop_category RENAME name TO old")
    rows(session, "ALTER TABLE shop_category ADD name varchar(50)")
    rows(session, "UPDATE shop_category SET name = old")
    rows(session, "ALTER TABLE shop_category DROP old, ADD UNIQUE (name), ALTER name SET NOT NULL")
    (found,) = compare(expected, catalogue.read(session))
    assert found.what == "the columns of table shop_category are in another order"
    assert not found.alarm


def test_another_version_of_an_extension_is_information(expected: Catalogue) -> None:
    one = catalogue.Entry("extension", "", "citext", {"version": "1.5", "schema": "public"})
    other = catalogue.Entry("extension", "", "citext", {"version": "1.6", "schema": "public"})
    wanted, real = (replace(expected, entries=(*expected.entries, e)) for e in (one, other))
    (found,) = compare(wanted, real)
    assert not found.alarm
    assert "1.6" in found.what
    assert wanted.checksum == real.checksum


def test_a_missing_extension_is_an_alarm(expected: Catalogue) -> None:
    entry = catalogue.Entry("extension", "", "citext", {"version": "1.5", "schema": "public"})
    (found,) = compare(replace(expected, entries=(*expected.entries, entry)), expected)
    assert found.alarm
    assert found.sql == ()


def test_two_equal_constraints_where_two_are_expected_are_no_difference(
    session: BaseDatabaseWrapper,
) -> None:
    rows(session, "ALTER TABLE shop_item ADD CONSTRAINT first_twin CHECK (price >= 0)")
    wanted = catalogue.read(session)
    rows(session, "ALTER TABLE shop_item RENAME CONSTRAINT first_twin TO another")
    assert compare(wanted, catalogue.read(session)) == ()


@pytest.mark.parametrize(
    ("sql", "deleting"),
    [
        ("ALTER TABLE shop_item ADD COLUMN weight integer", "DROP COLUMN"),
        ("CREATE TABLE extra (id int)", "DROP TABLE"),
    ],
)
def test_sql_that_deletes_data_says_so(
    sql: str, deleting: str, expected: Catalogue, session: BaseDatabaseWrapper
) -> None:
    rows(session, sql)
    (found,) = differences(expected, session)
    (statement,) = found.sql
    comment, command = statement.split("\n")
    assert comment == "-- this deletes the data in it"
    assert deleting in command


def test_numbers_go_on_after_those_that_are_there(
    expected: Catalogue, session: BaseDatabaseWrapper
) -> None:
    rows(session, "ALTER TABLE shop_category ALTER id DROP IDENTITY")
    rows(session, "DROP SEQUENCE shop_item_id_seq CASCADE")
    for one in differences(expected, session):
        for statement in one.sql:
            rows(session, statement)
    assert rows(session, NEXT_ID.format(table="shop_item")) == [(201,)]
    assert rows(session, NEXT_ID.format(table="shop_category")) == [(6,)]


def test_alarms_come_first_and_the_order_is_the_same_each_time(
    expected: Catalogue, session: BaseDatabaseWrapper
) -> None:
    rows(session, "CREATE TABLE extra (id int); CREATE INDEX quicker ON shop_item (note)")
    rows(session, "ALTER TABLE shop_item DROP COLUMN off; DROP TRIGGER shop_touched ON shop_item")
    actual = catalogue.read(session)
    found = compare(expected, actual)
    shuffled = replace(actual, entries=actual.entries[::-1])
    wanted = replace(expected, entries=expected.entries[::-1])
    assert [(one.alarm, one.kind) for one in found] == [
        (True, "column"),
        (True, "trigger"),
        (False, "table"),
        (False, "index"),
    ]
    assert compare(wanted, shuffled) == found


def test_nothing_changed_is_no_difference(
    expected: Catalogue, session: BaseDatabaseWrapper
) -> None:
    assert differences(expected, session) == ()
