"""What the tables and sequences of a database contain, in a form that two servers can compare.

The digest of a table is the sum, modulo 2**64, of the first 64 bits of md5(row as text) over its
rows. So it does not depend on the order of the rows, and PostgreSQL computes it in one pass. It is
the same on every major and platform, because ``database.connect`` fixes how a value is written.
docs/decisions/backups.md says what was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from postdo_backup.database import rows

CHUNK = 200  # sequences that are read by one statement
# Tables whose rows a dump has, with their columns by name: the order of columns can change when a
# table that inherits from another is restored. Not generated columns, which the server computes,
# and not tables of extensions, which the extension fills. PostgreSQL 14 to 18.
TABLES = """
SELECT n.nspname, c.relname, format('%I.%I', n.nspname, c.relname),
       coalesce((SELECT string_agg(format('r.%I', a.attname), ', ' ORDER BY a.attname)
                 FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                   AND a.attgenerated = ''), '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname
"""
# Rows and the sum of one table.
DIGEST = """
SELECT count(*), coalesce(sum(('x' || left(md5(ROW({columns})::text), 16))::bit(64)::bigint), 0)
FROM ONLY {table} AS r
"""
# The same of large objects, page by page. Without zeros at the end of a page and pages of nothing
# else: a restore fills gaps with them. Only a superuser may read them. PostgreSQL 14 to 18.
LARGE_OBJECTS = "SELECT count(*) FROM pg_largeobject_metadata"
LARGE_OBJECTS_DIGEST = r"""
SELECT coalesce(sum(('x' || left(md5(ROW(loid, pageno, data)::text), 16))::bit(64)::bigint), 0)
FROM (SELECT loid, pageno, rtrim(data, '\x00'::bytea) AS data FROM pg_largeobject) page
WHERE data <> ''::bytea
"""
LARGE = ("pg_catalog", "pg_largeobject")
# Every sequence, quoted, with its increment. PostgreSQL 14 to 18.
SEQUENCES = """
SELECT n.nspname, c.relname, format('%I.%I', n.nspname, c.relname), s.seqincrement
FROM pg_sequence s
JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname
"""


@dataclass(frozen=True, order=True)
class Table:
    """The rows of one table: how many, and their digest (16 hexadecimal digits)."""

    schema: str
    name: str
    rows: int
    digest: str

    @property
    def key(self) -> str:
        """Its name with the schema, for people and for comparing."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, order=True)
class NextValue:
    """The number that a sequence hands out next.

    A sequence belongs to no snapshot. ``latest`` is what it was when the dump had ended, so the
    value in the dump is between the two.
    """

    schema: str
    name: str
    next: int
    latest: int

    @property
    def key(self) -> str:
        """Its name with the schema, for people and for comparing."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Content:
    """What a database contains."""

    tables: tuple[Table, ...] = field(default=())
    sequences: tuple[NextValue, ...] = field(default=())


def content(connection: Any) -> Content:
    """Everything of the database of a connection that ``database.connect`` made.

    For one state of it, call this in a transaction of the level REPEATABLE READ.
    """
    return Content(tables(connection), sequences(connection))


def tables(connection: Any) -> tuple[Table, ...]:
    """Row count and digest of each table, sorted by name; of large objects if there are any."""
    found = []
    for schema, name, quoted, columns in rows(connection, TABLES):
        ((count, total),) = rows(connection, DIGEST.format(columns=columns, table=quoted))
        found.append(Table(schema, name, count, _hexadecimal(total)))
    ((count,),) = rows(connection, LARGE_OBJECTS)
    if count:
        ((total,),) = rows(connection, LARGE_OBJECTS_DIGEST)
        found.append(Table(*LARGE, count, _hexadecimal(total)))
    return tuple(found)


def sequences(connection: Any) -> tuple[NextValue, ...]:
    """The next value of each sequence, sorted by name."""
    known = rows(connection, SEQUENCES)
    found = []
    for begin in range(0, len(known), CHUNK):
        chunk = known[begin : begin + CHUNK]
        each = " UNION ALL ".join(
            f"SELECT {number}, last_value, is_called FROM {quoted}"  # noqa: S608  by format()
            for number, (_, _, quoted, _) in enumerate(chunk)
        )
        for number, last, called in rows(connection, each):
            schema, name, _, increment = chunk[number]
            following = last + increment if called else last
            found.append(NextValue(schema, name, following, following))
    return tuple(sorted(found))


def differences(expected: Content, found: Content) -> tuple[str, ...]:
    """What of ``found`` is not as expected, a line for each table and sequence; empty if equal."""
    return (
        *_differences_of_tables(expected.tables, found.tables),
        *_differences_of_sequences(expected.sequences, found.sequences),
    )


def _differences_of_tables(expected: Iterable[Table], found: Iterable[Table]) -> list[str]:
    wanted, actual = ({table.key: table for table in each} for each in (expected, found))
    lines = []
    for key in sorted(wanted.keys() | actual.keys()):
        if key not in actual:
            lines.append(f"table {key} is missing")
        elif key not in wanted:
            lines.append(f"table {key} is unexpected")
        elif wanted[key].rows != actual[key].rows:
            lines.append(f"table {key} has {actual[key].rows} rows, not {wanted[key].rows}")
        elif wanted[key].digest != actual[key].digest:
            lines.append(f"table {key} has as many rows, but not the same")
    return lines


def _differences_of_sequences(
    expected: Sequence[NextValue], found: Sequence[NextValue]
) -> list[str]:
    wanted, actual = ({each.key: each for each in some} for some in (expected, found))
    lines = []
    for key in sorted(wanted.keys() | actual.keys()):
        if key not in actual:
            lines.append(f"sequence {key} is missing")
        elif key not in wanted:
            lines.append(f"sequence {key} is unexpected")
        else:
            low, high = sorted((wanted[key].next, wanted[key].latest))
            if not low <= actual[key].next <= high:
                lines.append(f"sequence {key} continues with {actual[key].next}, not {low}")
    return lines


def _hexadecimal(total: object) -> str:
    return f"{int(str(total)) % 2**64:016x}"
