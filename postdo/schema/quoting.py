"""Names and texts written as SQL, for statements that a person is shown. Pure."""

from __future__ import annotations

Sql = tuple[str, ...]  # whole statements, in the order in which they are run


def quote(name: str) -> str:
    """A name as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def qualified(name: str) -> str:
    """``schema.name`` as quoted identifiers; from an opening bracket on, it is a list of types."""
    schema, _, rest = name.partition(".")
    plain, bracket, arguments = rest.partition("(")
    return f"{quote(schema)}.{quote(plain)}{bracket}{arguments}"


def literal(text: str) -> str:
    """A text as a SQL constant."""
    return "'" + text.replace("'", "''") + "'"


def beside(table: str, name: str) -> str:
    """The identifier of an index, which is in the schema of its table."""
    return f"{quote(table.partition('.')[0])}.{quote(name)}"


def alter(table: str, action: str) -> str:
    """An ALTER TABLE statement with this action."""
    return f"ALTER TABLE {qualified(table)} {action};"
