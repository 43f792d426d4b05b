"""One difference between two schemas, and the words for it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from postdo.base.formatting import table as shown
from postdo.schema.catalogue import Catalogue, Entry
from postdo.schema.quoting import Sql


@dataclass(frozen=True)
class Difference:
    """One thing that is not as expected, and what would repair it.

    - ``kind``, ``table``, ``name``: as in ``catalogue.Entry``. An extra view that reads a known
      table has that table.
    - ``what``: one line for a person.
    - ``alarm``: whether it matters; otherwise it is information, such as an index made by hand or
      the order of columns.
    - ``sql``: statements that would remove the difference; empty where only a person can know.
    - ``again``: statements that create the object as it is, for one that must be out of a
      migration's way meanwhile (a view, a trigger, a policy).
    - ``why``: why no statements are given although some were tried.
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
        """Whether this is an extra view: it reads a table, and changes nothing."""
        return self.kind == "view" and self.name != self.table.partition(".")[2]


@dataclass(frozen=True)
class Pair:
    """The two schemas that are compared, and which tables and views both have."""

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
    """How a message names an object: ``view shop_cheap``, ``trigger audit on shop_item``."""
    if entry.kind in ("table", "view"):
        return f"{entry.facts['form'] if entry.kind == 'view' else 'table'} {shown(entry.table)}"
    if entry.kind == "function":
        return f"{entry.facts['form']} {shown(entry.name)}"
    if entry.kind == "column":
        return f"column {shown(entry.table)}.{entry.name}"
    where = f" on {shown(entry.table)}" if entry.table else ""
    return f"{entry.kind} {shown(entry.name)}{where}"


def difference(entry: Entry, what: str, sql: Sql, *, alarm: bool = True) -> Difference:
    """Make the difference for this entry."""
    return Difference(entry.kind, entry.table, entry.name, what, alarm, sql)
