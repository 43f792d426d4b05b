"""When a real schema proves that a record is wrong, and when it only looks so."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from catalogues import connected, undone

from postdo.base.database import rows
from postdo.drift.wrong_record import proves
from postdo.schema import catalogue
from postdo.schema.catalogue import Catalogue

BEFORE = """
CREATE TABLE shop_item (id int PRIMARY KEY, name varchar(10), n int DEFAULT 0);
CREATE TYPE mood AS ENUM ('new');
CREATE FUNCTION price(i int) RETURNS int LANGUAGE sql AS 'SELECT 1';
"""
TABLE = "CREATE TABLE shop_extra (id int PRIMARY KEY, word text CHECK (word <> ''))"
COLUMN = "ALTER TABLE shop_item ADD price int"
INDEX = "CREATE INDEX by_name ON shop_item (name)"
CHECK = "ALTER TABLE shop_item ADD CONSTRAINT low CHECK (n < 9)"
REPLACED = "CREATE OR REPLACE FUNCTION price(i int) RETURNS int LANGUAGE sql AS 'SELECT 2'"


@dataclass(frozen=True)
class Case:
    """What a migration does, what was done by hand after it, and what that proves."""

    does: str
    by_hand: str
    gone: bool = False
    done: bool = False


CASES = {
    "function with another body": Case(
        REPLACED, "CREATE OR REPLACE FUNCTION price(i int) RETURNS int LANGUAGE sql AS 'SELECT 3'"
    ),
    "function as it was before": Case(
        REPLACED,
        "CREATE OR REPLACE FUNCTION price(i int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        gone=True,
    ),
    "enum with a further label": Case(
        "CREATE TYPE shade AS ENUM ('red')", "ALTER TYPE shade ADD VALUE 'blue'"
    ),
    "enum dropped": Case("CREATE TYPE shade AS ENUM ('red')", "DROP TYPE shade", gone=True),
    "table unlogged": Case(TABLE, "ALTER TABLE shop_extra SET UNLOGGED"),
    "table with row security": Case(TABLE, "ALTER TABLE shop_extra ENABLE ROW LEVEL SECURITY"),
    "table with a column less": Case(TABLE, "ALTER TABLE shop_extra DROP word"),
    "table with a column more": Case(TABLE, "ALTER TABLE shop_extra ADD more int", done=True),
    "table dropped": Case(TABLE, "DROP TABLE shop_extra", gone=True),
    "table dropped, and another made": Case(
        TABLE, "DROP TABLE shop_extra; CREATE TABLE shop_other (a int)", gone=True
    ),
    "index made twice": Case(INDEX, "CREATE INDEX again ON shop_item (name)", done=True),
    "table renamed": Case(TABLE, "ALTER TABLE shop_extra RENAME TO shop_other"),
    "table tuned": Case(TABLE, "ALTER TABLE shop_extra SET (fillfactor = 70)", done=True),
    "column dropped": Case(COLUMN, "ALTER TABLE shop_item DROP price", gone=True),
    "column dropped, and another made": Case(
        COLUMN, "ALTER TABLE shop_item DROP price, ADD other text", gone=True
    ),
    "column renamed": Case(COLUMN, "ALTER TABLE shop_item RENAME price TO cost"),
    "column retyped": Case(COLUMN, "ALTER TABLE shop_item ALTER price TYPE bigint"),
    "column with a default": Case(COLUMN, "ALTER TABLE shop_item ALTER price SET DEFAULT 1"),
    "column NOT NULL": Case(COLUMN, "ALTER TABLE shop_item ALTER price SET NOT NULL"),
    "one of two columns dropped": Case(
        f"{COLUMN}; ALTER TABLE shop_item ADD size int", "ALTER TABLE shop_item DROP price"
    ),
    "index dropped": Case(INDEX, "DROP INDEX by_name", gone=True),
    "index renamed": Case(INDEX, "ALTER INDEX by_name RENAME TO other", done=True),
    "index of another column": Case(
        INDEX, "DROP INDEX by_name; CREATE INDEX by_name ON shop_item (n)"
    ),
    "check dropped": Case(CHECK, "ALTER TABLE shop_item DROP CONSTRAINT low", gone=True),
    "check changed": Case(
        CHECK,
        "ALTER TABLE shop_item DROP CONSTRAINT low, ADD CONSTRAINT low CHECK (n < 10)",
    ),
    "check not valid": Case(
        CHECK,
        "ALTER TABLE shop_item DROP CONSTRAINT low, ADD CONSTRAINT low CHECK (n < 9) NOT VALID",
    ),
    "column that was to go": Case(
        "ALTER TABLE shop_item DROP n", "ALTER TABLE shop_item ADD n int DEFAULT 0", gone=True
    ),
    "column that was to go, otherwise": Case(
        "ALTER TABLE shop_item DROP n", "ALTER TABLE shop_item ADD n bigint DEFAULT 0"
    ),
    "column that was to get another name": Case(
        "ALTER TABLE shop_item RENAME n TO amount",
        "ALTER TABLE shop_item RENAME amount TO n",
        gone=True,
    ),
    "type that was to change": Case(
        "ALTER TABLE shop_item ALTER name TYPE varchar(20)",
        "ALTER TABLE shop_item ALTER name TYPE varchar(10)",
        gone=True,
    ),
    "nothing by hand": Case(COLUMN, "SELECT 1", done=True),
    "something else by hand": Case(COLUMN, CHECK, done=True),
    "nothing that a schema shows": Case("UPDATE shop_item SET n = 1", CHECK),
}


def schemas(database: str, *steps: str) -> list[Catalogue]:
    """What is there after each of these steps, which are taken back."""
    found = []
    with connected(database) as session, undone(session):
        for step in steps:
            rows(session, step)
            found.append(catalogue.read(session))
    return found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_record_is_wrong_only_where_all_that_the_migration_does_says_so(
    database: str, case: Case
) -> None:
    without, with_it, actual = schemas(database, BEFORE, case.does, case.by_hand)
    assert proves(without, with_it, actual) is case.gone
    assert proves(with_it, without, actual) is case.done
