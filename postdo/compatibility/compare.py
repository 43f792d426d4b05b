"""Decide whether the running version can work on the schema that a release produces.

Between the migration and the switch to the new version, the running version still serves requests,
on the new schema. What its models need is known: ``read_models`` describes for each model which
columns it reads and writes, with which types, defaults and constraints. ``clashes`` compares that
with two catalogues, from before and after the rehearsal.

A clash is something that the models could do before and cannot do afterwards: read a column that
was dropped, renamed or got an incompatible type, or write a row that a new NOT NULL, constraint or
default forbids. What was broken before is no clash. Each clash names the steps that avoid it
(``expand_contract``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from postdo.base.formatting import table
from postdo.compatibility import expand_contract
from postdo.compatibility.column_types import fits, parse, same_kind
from postdo.compatibility.constraints import CHECK, FOREIGN, Rule, Writing, broken, rules
from postdo.compatibility.expand_contract import Place, Steps
from postdo.journal.model_usage import ColumnUse, ModelUse, TableUse
from postdo.rehearsal.trace import Rename
from postdo.schema.catalogue import Catalogue

Facts = Mapping[str, str]


@dataclass(frozen=True)
class Clash:
    """One thing on the new schema that makes the serving release fail.

    ``what``: one line with table and column. ``breaks``: ``reads`` or ``writes``. ``steps``: the
    expand and contract steps that avoid it, in order.
    """

    table: str
    what: str
    breaks: str
    steps: tuple[str, ...]


class _Schema:
    """A catalogue, by table."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.tables = catalogue.tables
        self.views = frozenset(entry.table for entry in catalogue.of("view"))
        self.rules = rules(catalogue.entries)
        self.columns: dict[str, dict[str, Facts]] = {}
        for entry in catalogue.of("column"):
            self.columns.setdefault(entry.table, {})[entry.name] = entry.facts


def places(catalogue: Catalogue, table: str) -> tuple[str, ...]:
    """The tables that a model's ``db_table`` can mean; one in ``public`` comes first."""
    for name in (table, f"public.{table}"):
        if name in catalogue.tables:
            return (name,)
    return tuple(sorted(one for one in catalogue.tables if one.partition(".")[2] == table))


def clashes(
    use: ModelUse,
    before: Catalogue,
    after: Catalogue,
    renames: Collection[Rename] | None = None,
) -> tuple[Clash, ...]:
    """What the code described by ``use`` can do on ``before`` but not on ``after``.

    Empty if the release is compatible. ``renames``: tables and columns that only changed their
    names; ``None`` if unknown, and then what looks like one is reported as a guess.
    """
    old, new = _Schema(before), _Schema(after)
    return tuple(
        clash
        for table in use.tables
        for name in places(before, table.table)
        for clash in _Comparison(table, name, old, new, renames).clashes()
    )


class _Comparison:
    """One table that a model uses, before and after."""

    def __init__(
        self,
        use: TableUse,
        name: str,
        old: _Schema,
        new: _Schema,
        known: Collection[Rename] | None,
    ) -> None:
        self.use = use
        self.name = name
        self.short = table(name)
        self.old = old
        self.new = new
        self.before = old.columns.get(name, {})
        self.after = new.columns.get(name, {})
        self.known = known
        # Renamed columns: the old name and the new one.
        self.renamed = dict(self._renames())

    def clashes(self) -> Iterator[Clash]:
        if self.name in self.new.tables:
            yield from self._known_columns()
            yield from self._unknown_columns()
            yield from self._rules()
        elif self.name in self.new.views:
            steps = expand_contract.make_view(self._place())
            yield self._clash(f"table {self.short} becomes a view", "writes", steps)
        else:
            yield self._table_gone()

    def _table_gone(self) -> Clash:
        coming = self._new_names()
        if len(coming) != 1:
            steps = expand_contract.drop_table(self._place())
            return self._clash(f"table {self.short} is dropped", "reads", steps)
        other = table(coming[0])
        steps = expand_contract.rename_table(self._place(), other)
        what = f"table {self.short} {self._became(other)}"
        return self._clash(what, "reads", steps)

    def _became(self, other: str) -> str:
        return (
            f"is dropped (perhaps renamed to {other})"
            if self.known is None
            else f"is renamed to {other}"
        )

    def _new_names(self) -> list[str]:
        if self.known is not None:
            return [one.to for one in self.known if one.table == self.name and not one.column]
        return sorted(
            name
            for name in self.new.tables - self.old.tables
            if set(self.before) == set(self.new.columns.get(name, ()))
        )

    def _renames(self) -> Iterator[tuple[str, str]]:
        if self.known is None:
            yield from self._look_like_renames()
            return
        for one in self.known:
            if one.table == self.name and one.column in self.before and one.to in self.after:
                yield one.column, one.to

    def _look_like_renames(self) -> Iterator[tuple[str, str]]:
        gone = [name for name in self.before if name not in self.after]
        coming = [name for name in self.after if name not in self.before]
        for name in gone:
            facts = self.before[name]
            like = [one for one in coming if self.after[one]["type"] == facts["type"]]
            if len(like) > 1:  # a renamed column keeps its place
                place = facts.get("position")
                like = [one for one in like if self.after[one].get("position") == place]
            if len(like) == 1:
                coming.remove(like[0])
                yield name, like[0]

    def _known_columns(self) -> Iterator[Clash]:
        for column in self.use.columns:
            if column.name not in self.before:
                continue
            if column.name not in self.after:
                yield self._column_gone(column)
                continue
            yield from self._changes(column, self.before[column.name], self.after[column.name])

    def _column_gone(self, column: ColumnUse) -> Clash:
        place, new = self._place(column.name), self.renamed.get(column.name)
        what = f"column {self.short}.{column.name} "
        if new is None:
            return self._clash(f"{what}is dropped", "reads", expand_contract.drop_column(place))
        steps = expand_contract.rename_column(place, new)
        return self._clash(f"{what}{self._became(new)}", "reads", steps)

    def _changes(self, column: ColumnUse, before: Facts, after: Facts) -> Iterator[Clash]:
        place, what = self._place(column.name), f"column {self.short}.{column.name}"
        old_type, new_type = before["type"], after["type"]
        if not (fits(old_type, new_type) or fits(column.type, new_type)):
            text = f"{what} changes its type from {old_type} to {new_type}"
            if same_kind(old_type, new_type) and not parse(new_type).dimensions:
                yield self._clash(text, "writes", expand_contract.narrow_type(place, new_type))
            else:
                yield self._clash(text, "reads", expand_contract.change_type(place, new_type))
        if not column.written:
            return
        if column.null and before["nullable"] == "yes" and after["nullable"] == "no":
            text = f"{what} becomes NOT NULL, but {self.use.model} may write NULL"
            yield self._clash(text, "writes", expand_contract.make_not_null(place))
        if column.default and _filled(before) and not _filled(after):
            text = f"{what} loses its default, but {self.use.model} relies on it"
            yield self._clash(text, "writes", expand_contract.keep_default(place))
        generated = after.get("generated") and not before.get("generated")
        always = after.get("identity") == "a" != before.get("identity")
        if generated or (always and not column.default):
            text = f"{what} becomes a generated column, but {self.use.model} writes it"
            yield self._clash(text, "writes", expand_contract.make_generated(place))

    def _unknown_columns(self) -> Iterator[Clash]:
        sent = {one.name for one in self.use.columns if one.written}
        for name, facts in self.after.items():
            if name in sent or name in self.renamed.values() or not _demands(facts):
                continue
            if name in self.before and _demands(self.before[name]):
                continue
            what = "is new" if name not in self.before else "changes"
            text = (
                f"column {self.short}.{name} {what}: NOT NULL without a default, and "
                f"{self.use.model} of the running version does not write it"
            )
            yield self._clash(text, "writes", expand_contract.add_not_null(self._place(name)))

    def _rules(self) -> Iterator[Clash]:
        both = self.before.keys() & self.after.keys()
        writing = Writing(
            columns={
                one.name: one.null for one in self.use.columns if one.written and one.name in both
            },
            promises=frozenset(self.use.rules),
            after=self.after,
            tables=self.new.tables,
        )
        new_names = set(self.renamed.values())
        old = (rule.renamed(self.renamed) for rule in self.old.rules.get(self.name, ()))
        for rule in broken(writing, old, self.new.rules.get(self.name, ())):
            if new_names.isdisjoint(rule.columns):
                yield self._new_rule(rule)

    def _new_rule(self, rule: Rule) -> Clash:
        columns, model = ", ".join(rule.columns), self.use.model
        place = self._place(rule.columns[0] if rule.columns else "")
        if rule.kind == FOREIGN:
            target = table(rule.target)
            text = f"foreign key {rule.name} on {self.short} ({columns}) to {target} is new"
            steps = expand_contract.add_foreign_key(place, rule.name, target)
        elif rule.filled:
            text = f"constraint {rule.name} on {self.short} forbids NULL in {rule.filled}"
            steps = expand_contract.make_not_null(place)
        elif rule.kind == CHECK:
            text = f"constraint {rule.name} on {self.short} is new: {rule.definition}"
            steps = expand_contract.add_check(place, rule.name)
        else:
            text = f"unique constraint or index {rule.name} on {self.short} ({columns}) is new"
            steps = expand_contract.add_unique(place, rule.name, columns)
        return self._clash(f"{text}; {model} can violate it", "writes", steps)

    def _place(self, column: str = "") -> Place:
        field = next((one.field for one in self.use.columns if one.name == column), "")
        return Place(model=self.use.model, table=self.short, column=column, field=field)

    def _clash(self, what: str, breaks: str, steps: Steps) -> Clash:
        return Clash(table=self.name, what=what, breaks=breaks, steps=steps)


def _filled(facts: Facts) -> bool:
    """Whether the database has a value of its own for the column."""
    return bool(facts.get("default") or facts.get("identity") or facts.get("generated"))


def _demands(facts: Facts) -> bool:
    """Whether an insert that leaves the column out fails."""
    return facts.get("nullable") == "no" and not _filled(facts)
