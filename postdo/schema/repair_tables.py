"""The SQL that removes a difference in tables and what is on them, as text to print. Pure.

Each function takes entries of catalogues and returns whole statements; every name is quoted. An
empty tuple: only a person can know.
"""

from __future__ import annotations

from collections.abc import Iterable

from postdo.schema.catalogue import Catalogue, Entry
from postdo.schema.quoting import Sql, alter, beside, literal, qualified, quote
from postdo.schema.repair_views import around_views, create_index, create_policy, create_trigger

DELETES = "-- this deletes the data in it\n"
FILL = "-- fails while the table has rows: add it without NOT NULL, fill it, then SET NOT NULL\n"
IDENTITY = {"a": "ALWAYS", "d": "BY DEFAULT"}
TEXTS = frozenset({"text", "character varying", "character"})
INTEGERS = frozenset({"smallint", "integer", "bigint"})


def alter_column(column: Entry, action: str) -> str:
    """An ALTER TABLE … ALTER COLUMN statement with this action."""
    return alter(column.table, f"ALTER COLUMN {quote(column.name)} {action}")


# Tables and columns


def column_definition(column: Entry) -> str:
    """A column's definition, as CREATE TABLE and ADD COLUMN take it."""
    facts = column.facts
    words = [quote(column.name), facts["type"]]
    if facts["collation"]:
        words.append(f"COLLATE {facts['collation']}")
    if facts["generated"]:
        kind = "STORED" if facts["generated"] == "s" else "VIRTUAL"
        words.append(f"GENERATED ALWAYS AS ({facts['default']}) {kind}")
    elif facts["identity"]:
        words.append(f"GENERATED {IDENTITY[facts['identity']]} AS IDENTITY")
    elif facts["default"]:
        words.append(f"DEFAULT {facts['default']}")
    if facts["nullable"] == "no":
        words.append("NOT NULL")
    return " ".join(words)


def create_table(expected: Catalogue, table: Entry) -> Sql:
    """Create a table with everything on it except foreign keys, which may need other tables."""
    on_it = [entry for entry in expected.entries if entry.table == table.table]
    columns = sorted(
        (entry for entry in on_it if entry.kind == "column"),
        key=lambda entry: int(entry.facts["position"]),
    )
    if table.facts["form"] != "table" or table.facts["parent"]:
        return ()
    unlogged = "UNLOGGED " if table.facts["persistence"] == "unlogged" else ""
    body = ", ".join(column_definition(column) for column in columns)
    return (
        f"CREATE {unlogged}TABLE {qualified(table.table)} ({body});",
        *(
            add_constraint(entry)
            for entry in on_it
            if entry.kind == "constraint" and entry.facts["type"] != "f"
        ),
        *(create_index(entry) for entry in on_it if entry.kind == "index"),
        *row_security(table),
        *(
            statement
            for kind in ("trigger", "policy")
            for entry in on_it
            if entry.kind == kind
            for statement in (create_trigger(entry) if kind == "trigger" else create_policy(entry))
        ),
    )


def foreign_keys(expected: Catalogue, tables: Iterable[str]) -> Sql:
    """Add the foreign keys of these tables, after all tables exist."""
    wanted = frozenset(tables)
    return tuple(
        add_constraint(entry)
        for entry in expected.of("constraint")
        if entry.table in wanted and entry.facts["type"] == "f"
    )


def drop_table(table: Entry) -> Sql:
    """Drop a table, after a comment that says which data is lost."""
    return (f"{DELETES}DROP TABLE {qualified(table.table)};",)


def row_security(table: Entry) -> Sql:
    """Switch on row security of a new table, where it is expected; new tables have it off."""
    return tuple(
        statement
        for fact in ("row security", "forced row security")
        if table.facts[fact] == "yes"
        for statement in table_fact(table, fact)
    )


def table_fact(table: Entry, fact: str) -> Sql:
    """Change one property of a table to the expected one."""
    value = table.facts[fact]
    if fact == "row security":
        return (
            alter(table.table, f"{'ENABLE' if value == 'yes' else 'DISABLE'} ROW LEVEL SECURITY"),
        )
    if fact == "forced row security":
        force = "FORCE" if value == "yes" else "NO FORCE"
        return (alter(table.table, f"{force} ROW LEVEL SECURITY"),)
    return ()


def add_column(column: Entry) -> Sql:
    """Add a column, after a comment where existing rows would make that fail."""
    facts = column.facts
    given = facts["default"] or facts["identity"] or facts["generated"]
    warning = FILL if facts["nullable"] == "no" and not given else ""
    return (warning + alter(column.table, f"ADD COLUMN {column_definition(column)}"),)


def drop_column(column: Entry) -> Sql:
    """Drop a column, after a comment that says which data is lost."""
    return (DELETES + alter(column.table, f"DROP COLUMN {quote(column.name)}"),)


def change_type(expected: Entry, actual: Entry, there: Catalogue) -> Sql:
    """Change a column's type and collation.

    A default or view in the way is dropped and made again.
    """
    facts = expected.facts
    change = f"TYPE {facts['type']}"
    if facts["collation"] or actual.facts["collation"]:
        collation = facts["collation"] or 'pg_catalog."default"'
        change += f" COLLATE {collation}"
    if actual.facts["generated"]:
        return around_views(there, actual, (alter_column(expected, change),))
    if not _assignable(actual.facts["type"], facts["type"]):
        change += f" USING {quote(expected.name)}::{facts['type']}"
    statements = [alter_column(expected, change)]
    if actual.facts["default"]:
        statements.insert(0, alter_column(expected, "DROP DEFAULT"))
        if facts["default"] and not facts["generated"]:
            statements.append(alter_column(expected, f"SET DEFAULT {facts['default']}"))
    return around_views(there, actual, tuple(statements))


def _assignable(real: str, wanted: str) -> bool:
    """Whether values go over by themselves: they fail where a cast would cut them off."""
    bare = real.partition("(")[0], wanted.partition("(")[0]
    return any(family.issuperset(bare) for family in (TEXTS, INTEGERS))


def change_null(expected: Entry) -> Sql:
    """Set or drop NOT NULL, as expected."""
    verb = "SET" if expected.facts["nullable"] == "no" else "DROP"
    return (alter_column(expected, f"{verb} NOT NULL"),)


def change_default(expected: Entry) -> Sql:
    """Set the expected default, or drop it."""
    default = expected.facts["default"]
    return (alter_column(expected, f"SET DEFAULT {default}" if default else "DROP DEFAULT"),)


def change_generated(expected: Entry, actual: Entry) -> Sql:
    """Change whether a column is computed, or its expression."""
    if not expected.facts["generated"] and actual.facts["generated"] == "s":
        back = change_default(expected) if expected.facts["default"] else ()
        return (alter_column(expected, "DROP EXPRESSION"), *back)
    return (*drop_column(actual), *add_column(expected))


def change_identity(
    expected: Entry, actual: Entry, wanted: Entry | None, owned: Entry | None
) -> Sql:
    """Change where a column gets its numbers from.

    ``wanted``: the sequence that should belong to it, ``owned``: the one that does.
    """
    mode, real = expected.facts["identity"], actual.facts["identity"]
    if mode and real and actual.facts["written"] == "identity":
        return (alter_column(expected, f"SET GENERATED {IDENTITY[mode]}"),)
    if mode == "d" and not real and owned is not None:
        return (_serial(expected, owned),)
    statements: list[str] = []
    if actual.facts["written"] == "identity":
        statements.append(alter_column(expected, "DROP IDENTITY"))
    elif real or actual.facts["default"]:
        statements.append(alter_column(expected, "DROP DEFAULT"))
    if owned is not None and actual.facts["written"] != "identity":
        statements += drop_sequence(owned)
    if expected.facts["written"] == "serial" and wanted is not None:
        statements += [*create_sequence(wanted), _serial(expected, wanted), _go_on(expected)]
    elif mode:
        statements.append(alter_column(expected, f"ADD GENERATED {IDENTITY[mode]} AS IDENTITY"))
        statements.append(_go_on(expected))
    elif expected.facts["default"]:
        statements += change_default(expected)
    return tuple(statements)


def _serial(column: Entry, sequence: Entry) -> str:
    source = f"nextval({literal(qualified(sequence.name))}::regclass)"
    return alter_column(column, f"SET DEFAULT {source}")


def _go_on(column: Entry) -> str:
    """Have a new sequence go on after the greatest value that is there."""
    table, name = qualified(column.table), quote(column.name)
    sequence = f"pg_get_serial_sequence({literal(table)}, {literal(column.name)})"
    highest = f"coalesce(max({name}), 0)"
    return f"SELECT setval({sequence}, {highest} + 1, false) FROM {table};"  # noqa: S608  quoted


# Constraints, indexes, sequences


def add_constraint(constraint: Entry) -> str:
    """Add a constraint under its expected name, NOT VALID if that is expected."""
    suffix = "" if constraint.facts["valid"] == "yes" else " NOT VALID"
    action = f"ADD CONSTRAINT {quote(constraint.name)} {constraint.facts['definition']}{suffix}"
    return alter(constraint.table, action)


def drop_constraint(constraint: Entry) -> str:
    """Drop a constraint by the name that it has in this database."""
    # It may have gone already, with its column.
    return alter(constraint.table, f"DROP CONSTRAINT IF EXISTS {quote(constraint.name)}")


def validate(constraint: Entry) -> str:
    """Check all existing rows against a constraint that is NOT VALID."""
    return alter(constraint.table, f"VALIDATE CONSTRAINT {quote(constraint.name)}")


def drop_index(index: Entry) -> str:
    """Drop an index by the name that it has in this database."""
    return f"DROP INDEX IF EXISTS {beside(index.table, index.name)};"


def reindex(index: Entry) -> str:
    """Rebuild an invalid index. It blocks writes to the table meanwhile."""
    return f"REINDEX INDEX {beside(index.table, index.name)};"


def sequence_options(sequence: Entry) -> str:
    """All options of a sequence, for CREATE SEQUENCE and ALTER SEQUENCE."""
    facts = sequence.facts
    return (
        f"AS {facts['type']} INCREMENT {facts['increment']} MINVALUE {facts['minimum']} "
        f"MAXVALUE {facts['maximum']} START {facts['start']} "
        + ("CYCLE" if facts["cycle"] == "yes" else "NO CYCLE")
    )


def create_sequence(sequence: Entry) -> Sql:
    """Create a sequence, owned by its column if it has one."""
    create = f"CREATE SEQUENCE {qualified(sequence.name)} {sequence_options(sequence)};"
    return (create, *(own(sequence, sequence) if sequence.facts["column"] else ()))


def change_sequence(expected: Entry, actual: Entry) -> Sql:
    """Set the expected options of a sequence; its next number stays."""
    return (f"ALTER SEQUENCE {qualified(actual.name)} {sequence_options(expected)};",)


def own(expected: Entry, actual: Entry) -> Sql:
    """Let the column of the expected sequence own the actual one."""
    column = expected.facts["column"]
    owner = f"{qualified(expected.table)}.{quote(column)}" if column else "NONE"
    return (f"ALTER SEQUENCE {qualified(actual.name)} OWNED BY {owner};",)


def drop_sequence(sequence: Entry) -> Sql:
    """Drop a sequence, unless it was dropped with its column."""
    return (f"DROP SEQUENCE IF EXISTS {qualified(sequence.name)};",)
