"""The SQL that removes a difference in types, collations, extensions and schemas. Pure.

As in ``repair_tables.py``: whole statements, every name quoted, empty where only a person can know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from postdo.schema import repair_views
from postdo.schema.catalogue import Catalogue, Entry
from postdo.schema.quoting import Sql, alter, literal, qualified, quote
from postdo.schema.repair_tables import add_constraint, drop_constraint, drop_index
from postdo.schema.repair_views import around_views, mentions

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
    names = {f"{shown[0]}.{shown[2]}", name}
    users = [
        column
        for column in there.of("column")
        if column.facts["type"].removesuffix("[]") in names and column.table in there.tables
    ]
    moved = tuple(statement for column in users for statement in _move(column, name))
    names |= _functions(there, names)
    drop, again = _out_of_the_way(there, users, names)
    statements = (
        *drop,
        f"ALTER TYPE {name} RENAME TO {quote(old)};",
        *create_type(expected),
        *moved,
        *again,
        f"DROP TYPE {quote(shown[0])}.{quote(old)};",
    )
    return around_views(there, users, statements, naming=names)


def _functions(there: Catalogue, names: set[str]) -> set[str]:
    """The names of the functions that have the enum as an argument, or name it otherwise."""
    return {
        function.name.partition("(")[0]
        for function in there.of("function")
        if mentions(f"{function.name} {function.facts['definition']}", names)
    }


def _out_of_the_way(there: Catalogue, users: list[Entry], names: set[str]) -> tuple[Sql, Sql]:
    """What names the enum, or hangs on one of its columns: to drop it, and to make it again."""
    tables = {column.table for column in users}
    drop: list[str] = []
    again: list[str] = []
    for kind, (remove, create) in _DEPENDENTS.items():
        for entry in there.of(kind):
            on_column = kind in ("policy", "trigger") and entry.table in tables
            texts = (entry.name, *entry.facts.values())
            if on_column or any(mentions(text, names) for text in texts):
                drop.extend(remove(entry))
                again[:0] = create(entry)
    return tuple(drop), tuple(again)


# In the order in which they can be dropped.
_DEPENDENTS: Mapping[str, tuple[Callable[[Entry], Sql], Callable[[Entry], Sql]]] = {
    "policy": (repair_views.drop_policy, repair_views.create_policy),
    "trigger": (repair_views.drop_trigger, repair_views.create_trigger),
    "index": (lambda one: (drop_index(one),), lambda one: (repair_views.create_index(one),)),
    "constraint": (lambda one: (drop_constraint(one),), lambda one: (add_constraint(one),)),
    "function": (repair_views.drop_function, repair_views.create_function),
}


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
