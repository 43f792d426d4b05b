"""The SQL that removes a difference in types, collations, extensions and schemas. Pure.

As in ``remedies.py``: whole statements, every name quoted, empty where only a person can know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from postdo.schema.catalogue import Catalogue, Entry
from postdo.schema.quoting import Sql, alter, literal, qualified, quote
from postdo.schema.remedies_views import around_views

PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}
LABEL = re.compile(r"'(?:[^']|'')*'")


def create_type(type_: Entry) -> Sql:
    """Create an enum, domain, range or composite type."""
    facts, name = type_.facts, qualified(type_.name)
    if facts["form"] == "domain":
        words = [f"CREATE DOMAIN {name} AS {facts['base']}"]
        words += [f"DEFAULT {facts['default']}"] if facts["default"] else []
        words += ["NOT NULL"] if facts["nullable"] == "no" else []
        words += [facts["constraints"]] if facts["constraints"] else []
        return (" ".join(words) + ";",)
    bodies: Mapping[str, str] = {
        "enum": f"ENUM ({facts['labels']})",
        "range": f"RANGE (SUBTYPE = {facts['base']})",
        "composite": f"({facts['attributes']})",
    }
    return (f"CREATE TYPE {name} AS {bodies[facts['form']]};",)


def change_type(expected: Entry, actual: Entry, there: Catalogue) -> Sql:
    """Labels that an enum lacks are added; for anything else a new enum takes its place."""
    if expected.facts["form"] != "enum" or actual.facts["form"] != "enum":
        return ()
    wanted, real = _labels(expected), _labels(actual)
    if [label for label in wanted if label in real] == real:
        return _add_labels(expected, wanted, real)
    name = qualified(expected.name)
    old = f"{expected.name.partition('.')[2]}_old"
    shown = expected.name.partition(".")
    users = [
        column
        for column in there.of("column")
        if column.facts["type"].removesuffix("[]") in (f"{shown[0]}.{shown[2]}", name)
        and column.table in there.tables
    ]
    moved = tuple(statement for column in users for statement in _move(column, name))
    statements = (
        f"ALTER TYPE {name} RENAME TO {quote(old)};",
        *create_type(expected),
        *moved,
        f"DROP TYPE {quote(shown[0])}.{quote(old)};",
    )
    return around_views(there, users, statements)


def _labels(enum: Entry) -> list[str]:
    return LABEL.findall(enum.facts["labels"])


def _add_labels(enum: Entry, wanted: list[str], real: list[str]) -> Sql:
    there = list(real)
    statements: list[str] = []
    for place, label in enumerate(wanted):
        if label in there:
            continue
        where = f" AFTER {wanted[place - 1]}" if place else f" BEFORE {there[0]}" if there else ""
        statements.append(f"ALTER TYPE {qualified(enum.name)} ADD VALUE {label}{where};")
        there.append(label)
    return tuple(statements)


def _move(column: Entry, enum: str) -> Sql:
    """Have a column use the new enum; values that it does not have stop this."""
    type_ = enum + ("[]" if column.facts["type"].endswith("[]") else "")
    text = "text[]" if column.facts["type"].endswith("[]") else "text"
    name, default = quote(column.name), column.facts["default"]
    change = f"ALTER COLUMN {name} TYPE {type_} USING {name}::{text}::{type_}"
    if not default:
        return (alter(column.table, change),)
    return (
        alter(column.table, f"ALTER COLUMN {name} DROP DEFAULT"),
        alter(column.table, change),
        alter(column.table, f"ALTER COLUMN {name} SET DEFAULT {default}"),
    )


def drop_type(type_: Entry) -> Sql:
    """Drop a type; a column that still uses it stops this."""
    return (f"DROP TYPE {qualified(type_.name)};",)


def create_collation(collation: Entry) -> Sql:
    """Create a collation; the system's library must know its locale."""
    facts = collation.facts
    deterministic = "true" if facts["deterministic"] == "yes" else "false"
    return (
        f"CREATE COLLATION {qualified(collation.name)} (PROVIDER = {PROVIDERS[facts['provider']]}, "
        f"LOCALE = {literal(facts['locale'])}, DETERMINISTIC = {deterministic});",
    )


def drop_collation(collation: Entry) -> Sql:
    """Drop a collation; a column that still uses it stops this."""
    return (f"DROP COLLATION {qualified(collation.name)};",)


def create_extension(extension: Entry) -> Sql:
    """Create an extension in its expected schema; the server must have its files."""
    return (
        f"CREATE EXTENSION IF NOT EXISTS {quote(extension.name)} "
        f"WITH SCHEMA {quote(extension.facts['schema'])};",
    )


def drop_extension(extension: Entry) -> Sql:
    """Drop an extension; what still uses it stops this."""
    return (f"DROP EXTENSION {quote(extension.name)};",)


def create_schema(schema: Entry) -> Sql:
    """Create an empty schema."""
    return (f"CREATE SCHEMA {quote(schema.name)};",)


def drop_schema(schema: Entry) -> Sql:
    """Drop a schema; anything left in it stops this."""
    return (f"DROP SCHEMA {quote(schema.name)};",)
