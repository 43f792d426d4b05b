"""The SQL in the steps that a plan prints for an incompatible change, word for word."""

from __future__ import annotations

import ast
import re

import pytest
from projects import query

from postdo.compatibility import expand_contract
from postdo.compatibility.expand_contract import Place, Steps

PLACE = Place("shop.Item", "shop_item", "note", "note")
RUN_SQL = re.compile(r"migrations\.RunSQL\(('[^']*'|\[[^]]*\])\)")
FILL = re.compile(r"fill it: (UPDATE .* IS NULL)")
FACTS = """
SELECT attname::text || ' ' || atttypid::regtype || CASE WHEN attnotnull THEN ' filled' ELSE '' END
FROM pg_attribute WHERE attrelid = to_regclass('shop_item') AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT conname || ' ' || convalidated FROM pg_constraint
WHERE conrelid = to_regclass('shop_item') AND contype IN ('c', 'f')
ORDER BY 1
"""
ADD = "ALTER TABLE shop_item ADD {}"
TITLE, REAL = ADD.format("title varchar(9)"), ADD.format("note_new int")
# What is done before, what the recipe says, and what comes of its SQL. (Django's own operation
# validates a check.)
RECIPES: dict[str, tuple[str, Steps, list[str]]] = {
    "rename a column": (
        TITLE,
        expand_contract.rename_column(PLACE, "title"),
        ["title character varying"],
    ),
    "drop a column": ("", expand_contract.drop_column(PLACE), []),
    "drop a table": ("", expand_contract.drop_table(PLACE), []),
    "make it NOT NULL": (
        "",
        expand_contract.make_not_null(PLACE),
        ["note character varying filled"],
    ),
    "another type": (REAL, expand_contract.change_type(PLACE, "integer"), ["note_new integer"]),
    "a narrower type": (
        "",
        expand_contract.narrow_type(PLACE, "char(3)"),
        ["note character filled"],
    ),
    "a check": (
        "",
        expand_contract.add_check(PLACE, "short"),
        ["note character varying filled", "short false"],
    ),
    "a foreign key": (
        "",
        expand_contract.add_foreign_key(PLACE, "to_itself", "shop_item"),
        ["note character varying filled", "to_itself true"],
    ),
    "no default": ("", expand_contract.keep_default(PLACE), ["note character varying filled"]),
    "a generated column": ("", expand_contract.make_generated(PLACE), []),
}
# What a person writes in place of "…".
CHOICES = {
    "make it NOT NULL": "'none'",
    "another type": "0",
    "a check": "length(note) < 9",
    "a foreign key": "shop_item (note)",
}


def statements(steps: Steps, choice: str) -> list[str]:
    """All SQL that the steps hold, in their order."""
    found: list[str] = []
    for step in steps:
        written = step.replace("…", choice) if "state_operations=[" not in step else step
        places = [(one.start(), ast.literal_eval(one[1])) for one in RUN_SQL.finditer(written)]
        places += [(one.start(), one[1]) for one in FILL.finditer(step.replace("…", choice))]
        for _, sql in sorted(places, key=lambda place: place[0]):
            found.extend([sql] if isinstance(sql, str) else sql)
    return found


@pytest.mark.parametrize("change", RECIPES)
def test_the_sql_of_a_recipe_does_what_it_is_for(database: str, change: str) -> None:
    before, steps, expected = RECIPES[change]
    filled = "" if change == "make it NOT NULL" else " NOT NULL DEFAULT 'old'"
    query(database, f"CREATE TABLE shop_item (note varchar(9) UNIQUE{filled}); {before}")
    query(database, "INSERT INTO shop_item (note) VALUES ('old')")
    if not filled:
        query(database, "INSERT INTO shop_item (note) VALUES (NULL)")
    run = statements(steps, CHOICES.get(change, "NULL"))
    assert run, steps
    for one in run:
        query(database, one)
    assert [fact for (fact,) in query(database, FACTS)] == expected
