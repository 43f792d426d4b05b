"""Describe which rows a table accepts, and find constraints that the running version could violate.

Constraints and unique indexes become ``Rule`` values with the columns that they need. A new rule is
a problem only if the running version writes one of these columns and does not already obey the same
rule, because its models have it or because the table had it before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from postdo.schema.catalogue import Entry

UNIQUE, CHECK, FOREIGN, EXCLUSION = "u", "c", "f", "x"

# As pg_get_constraintdef prints it; PostgreSQL 14 to 18.
_FOREIGN_KEY = re.compile(r"FOREIGN KEY \((.*?)\) REFERENCES (.+?)\((.*?)\)")
_ON_DELETE = re.compile(r"ON DELETE (CASCADE|SET NULL|SET DEFAULT)")
_FILLED = re.compile(r"CHECK \(+\"?(?P<column>[^()\"]+?)\"? IS NOT NULL\)+$")
_CAST = re.compile(r"::[a-z_ ]+(?:\.[a-z_]+)?(?:\(\d+(?:,\d+)?\))?(?:\[\])?")
# Defaults that give another value for each row, whatever the code knows.
_FRESH = re.compile(r"\b(nextval|gen_random_uuid|uuid_generate_v\d\w*|uuidv[47])\(")

Facts = Mapping[str, str]


@dataclass(frozen=True)
class Rule:
    """A constraint or unique index. ``kind``: u (also primary keys and unique indexes), c, f or x.

    ``columns``: may be expressions in a unique index. ``predicate``: of a partial unique index.
    ``deferrable``: whether it is checked only at the end of the transaction.
    """

    kind: str
    name: str
    columns: tuple[str, ...]
    definition: str
    predicate: str
    deferrable: bool

    @property
    def essence(self) -> tuple[str, ...]:
        """A key that is equal for rules that demand the same of a row."""
        if self.kind == UNIQUE:
            columns = sorted(simplified(column) for column in self.columns)
            return (UNIQUE, *columns, simplified(self.predicate), str(self.nulls_are_equal))
        if self.kind == FOREIGN:
            return (FOREIGN, *self.columns, self.target)
        return (self.kind, simplified(self.definition))

    @property
    def nulls_are_equal(self) -> bool:
        """Whether a unique rule counts two NULLs as the same value."""
        return "NULLS NOT DISTINCT" in self.definition

    @property
    def target(self) -> str:
        """The table that a foreign key refers to, with its schema, without quotes."""
        found = _FOREIGN_KEY.search(self.definition)
        return found[2].replace('"', "") if found else ""

    @property
    def on_delete(self) -> str:
        """A foreign key's action on delete, such as ``CASCADE``; empty if it only refuses."""
        found = _ON_DELETE.search(self.definition)
        return found[1] if found else ""

    @property
    def filled(self) -> str:
        """The column, if all that the rule demands is that it is not NULL; else empty."""
        found = _FILLED.search(self.definition) if self.kind == CHECK else None
        return found["column"] if found else ""

    def renamed(self, names: Mapping[str, str]) -> Rule:
        """The same rule after columns got other names."""
        if not names:
            return self
        words = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, names))})(?!\w)")

        def rename(text: str) -> str:
            return words.sub(lambda found: names[found[1]], text)

        return replace(
            self,
            columns=tuple(map(rename, self.columns)),
            definition=rename(self.definition),
            predicate=rename(self.predicate),
        )

    def promises(self) -> set[str]:
        """How a model that knows this rule states it, see ``TableUse.rules``."""
        known = {f"constraint {self.name}"}
        if self.kind == UNIQUE and not self.predicate and not self.nulls_are_equal:
            known.add(unique_promise(self.columns))
        elif self.kind == FOREIGN and len(self.columns) == 1:
            known.add(foreign_promise(self.columns[0], self.target.rpartition(".")[2]))
        elif self.kind == CHECK:
            known.add(check_promise(self.definition.removeprefix("CHECK ")))
        return known


@dataclass(frozen=True)
class Writing:
    """What some code writes to a table.

    ``columns``: those that it writes, and whether it may write NULL. ``promises``: the rules that
    it knows. ``after``: the facts of the columns on the new schema. ``tables``: all tables there.
    """

    columns: Mapping[str, bool]
    promises: frozenset[str]
    after: Mapping[str, Facts]
    tables: frozenset[str]


def rules(entries: Iterable[Entry]) -> dict[str, list[Rule]]:
    """The rules of each table, by the table's name with its schema."""
    found: dict[str, list[Rule]] = {}
    for entry in entries:
        facts = entry.facts
        if entry.kind == "constraint":
            kind = UNIQUE if facts.get("type") == "p" else facts.get("type", "")
        elif entry.kind == "index" and facts.get("unique") == "yes":
            kind = UNIQUE
        else:
            continue
        found.setdefault(entry.table, []).append(
            Rule(
                kind=kind,
                name=entry.name,
                columns=tuple(part for part in facts.get("columns", "").split(",") if part),
                definition=facts.get("definition", ""),
                predicate=facts.get("predicate", ""),
                deferrable=facts.get("deferrable") == "yes",
            )
        )
    return found


def broken(writing: Writing, before: Iterable[Rule], after: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules that are new in ``after`` and that the code can violate, each once."""
    old = tuple(before)
    # Under a name that is there already, a new condition is not the one that the code knows.
    known = writing.promises - {f"constraint {one.name}" for one in old}
    found: dict[tuple[str, ...], Rule] = {}
    for rule in after:
        if any(_was_there(rule, one, writing) for one in old):
            continue
        if known.isdisjoint(rule.promises()) and _can_break(rule, writing, old):
            found.setdefault(rule.essence, rule)
    return tuple(found.values())


def unique_promise(columns: Iterable[str]) -> str:
    """The text in ``TableUse.rules`` for columns that are unique together, in any order."""
    return f"unique {','.join(sorted(columns))}"


def foreign_promise(column: str, table: str) -> str:
    """The text in ``TableUse.rules`` for a column that refers to a table (without its schema)."""
    return f"foreign {column} {table}"


def check_promise(condition: str) -> str:
    """The text in ``TableUse.rules`` for a condition that Django wrote or PostgreSQL printed."""
    return f"check {simplified(condition)}"


def simplified(definition: str) -> str:
    """A condition without what PostgreSQL adds when it prints it: casts, brackets, blanks."""
    return re.sub(r'[()\s"]', "", _CAST.sub("", definition))


def _was_there(rule: Rule, old: Rule, writing: Writing) -> bool:
    if rule.kind == FOREIGN and old.kind == FOREIGN and rule.columns == old.columns:
        # A target that is no more was renamed, or is missed for a reason of its own.
        same = rule.target == old.target or old.target not in writing.tables
        eased = rule.deferrable or not old.deferrable
        return same and eased and old.on_delete in ("", rule.on_delete)
    return rule.essence == old.essence


def _can_break(rule: Rule, writing: Writing, old: tuple[Rule, ...]) -> bool:
    if rule.kind == UNIQUE:
        return _can_collide(rule, writing, old)
    if rule.filled:
        return writing.columns.get(rule.filled, False)
    return any(_mentions(rule, column) for column in writing.columns)


def _can_collide(rule: Rule, writing: Writing, old: tuple[Rule, ...]) -> bool:
    for one in old:
        # What was unique by fewer columns stays so by more.
        if one.kind == UNIQUE and set(one.columns) <= set(rule.columns) and not one.predicate:
            return False
    return not any(_differs_by_itself(column, rule, writing) for column in rule.columns)


def _differs_by_itself(column: str, rule: Rule, writing: Writing) -> bool:
    """Whether no two rows of this code are equal in a column that it does not write."""
    facts = writing.after.get(column)
    if column in writing.columns or facts is None:
        return False
    if facts.get("identity") or _FRESH.search(facts.get("default", "")):
        return True
    empty = facts.get("nullable") == "yes" and not facts.get("default")
    return empty and not facts.get("generated") and not rule.nulls_are_equal


def _mentions(rule: Rule, column: str) -> bool:
    if rule.columns:
        return column in rule.columns
    return re.search(rf"(?<!\w){re.escape(column)}(?!\w)", rule.definition) is not None
