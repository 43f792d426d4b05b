"""One difference between two schemas, and the words for it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from postdo.base.formatting import table as shown
from postdo.schema.catalogue import Catalogue, Entry
from postdo.schema.quoting import Sql


@dataclass(frozen=True)
class Difference:
    """One thing that is not as expected.

    ``kind``, ``table``, ``name``: as in ``catalogue.Entry``; an extra view that reads a known table
    has that table. ``what``: one line for a person. ``alarm``: whether it matters; else it is
    information (an index made by hand, order of columns). ``sql``: statements that would remove
    it, empty where only a person can know. ``again``: statements that make it as it is, for what
    a migration may need out of its way meanwhile (a view, a trigger, a policy). ``why``: why SQL
    that was tried is not told.
    """

    kind: str
    table: str
    name: str
    what: str
    alarm: bool
    sql: tuple[str, ...]
    again: tuple[str, ...] = ()
    why: str = ""

    @property
    def only_reads(self) -> bool:
        """Whether this is a view that nobody expects; its table is one that it reads."""
        return self.kind == "view" and self.name != self.table.partition(".")[2]


@dataclass(frozen=True)
class Pair:
    """The two schemas, and which tables and views both of them have."""

    expected: Catalogue
    actual: Catalogue

    def both(self, kind: str) -> frozenset[str]:
        """Names of the tables or views that both have."""
        one, other = (
            frozenset(entry.table for entry in catalogue.of(kind))
            for catalogue in (self.expected, self.actual)
        )
        return one & other


def label(entry: Entry) -> str:
    """An object for a message: ``view shop_cheap``, ``trigger audit on shop_item``."""
    if entry.kind in ("table", "view"):
        return f"{entry.facts['form'] if entry.kind == 'view' else 'table'} {shown(entry.table)}"
    if entry.kind == "function":
        return f"{entry.facts['form']} {shown(entry.name)}"
    if entry.kind == "column":
        return f"column {shown(entry.table)}.{entry.name}"
    where = f" on {shown(entry.table)}" if entry.table else ""
    return f"{entry.kind} {shown(entry.name)}{where}"


def difference(entry: Entry, what: str, sql: Sql, *, alarm: bool = True) -> Difference:
    """A difference at this entry."""
    return Difference(entry.kind, entry.table, entry.name, what, alarm, sql)
