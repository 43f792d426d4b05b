"""The SQL that removes a difference in views, triggers and policies. Pure.

As in ``repair_tables.py``: whole statements, every name quoted, empty where only a person can know.
"""

from __future__ import annotations

import re

from postdo.schema.catalogue import Catalogue, Entry
from postdo.schema.quoting import Sql, alter, qualified, quote

FIRES = {"O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}


def create_view(view: Entry, *, replace: bool = False) -> Sql:
    """Create a view without its indexes and triggers.

    ``replace``: over one that has its columns.
    """
    facts = view.facts
    options = f" WITH ({facts['options']})" if facts["options"] else ""
    verb = "CREATE OR REPLACE" if replace else "CREATE"
    name = qualified(view.table)
    return (f"{verb} {facts['form'].upper()} {name}{options} AS{_body(facts['definition'])};",)


def create_whole_view(catalogue: Catalogue, view: Entry) -> Sql:
    """Create a view with the indexes and triggers on it."""
    return (*create_view(view), *_on_view(catalogue, view))


def _body(definition: str) -> str:
    return definition if definition.startswith(" ") else f" {definition}"


def drop_view(view: Entry) -> Sql:
    """Drop a view. PostgreSQL refuses if another view still reads it."""
    return (f"DROP {view.facts['form'].upper()} IF EXISTS {qualified(view.table)};",)


def change_view(expected: Catalogue, actual: Catalogue, wanted: Entry, real: Entry) -> Sql:
    """Change a view: replace it where PostgreSQL can, else drop it and create it again.

    It can be replaced if its columns stay, in their order.
    """
    before, after = _view_columns(actual, real), _view_columns(expected, wanted)
    plain = wanted.facts["form"] == real.facts["form"] == "view"
    if plain and after[: len(before)] == before:
        return create_view(wanted, replace=True)
    statements = (*drop_view(real), *create_view(wanted), *_on_view(actual, real))
    return _around(actual, _readers(actual, real.table), statements)


def around_views(there: Catalogue, column: Entry, statements: Sql) -> Sql:
    """The statements, between dropping the views that use this column and creating them again."""
    return _around(there, _readers(there, column.table, column.name), statements)


def _around(there: Catalogue, views: list[Entry], statements: Sql) -> Sql:
    return (
        *(statement for view in reversed(views) for statement in drop_view(view)),
        *statements,
        *(statement for view in views for statement in create_whole_view(there, view)),
    )


def _readers(there: Catalogue, relation: str, column: str = "") -> list[Entry]:
    """The views that read a relation (and name this column), and those that read these in turn.

    Each after what it reads.
    """
    word = re.compile(rf"(?<!\w){re.escape(column)}(?!\w)" if column else "")
    found: list[Entry] = []
    for view in there.of("view"):
        if relation in view.facts["reads"].split(",") and word.search(view.facts["definition"]):
            more = [view, *_readers(there, view.table)]
            found = [entry for entry in found if entry not in more] + more
    return found


def _on_view(there: Catalogue, view: Entry) -> Sql:
    """Indexes and triggers, which go with their view and have to be made again."""
    on_it = [entry for entry in there.entries if entry.table == view.table]
    return (
        *(create_index(entry) for entry in on_it if entry.kind == "index"),
        *(
            statement
            for entry in on_it
            if entry.kind == "trigger"
            for statement in create_trigger(entry)
        ),
    )


def _view_columns(catalogue: Catalogue, view: Entry) -> list[tuple[int, str, str]]:
    return sorted(
        (int(entry.facts["position"]), entry.name, entry.facts["type"])
        for entry in catalogue.of("column")
        if entry.table == view.table
    )


def create_index(index: Entry) -> str:
    """Create an index under its expected name, also on a partitioned table."""
    before, _, after = index.facts["definition"].partition("INDEX ON ")
    # With ONLY, an index of a partitioned table stays invalid.
    return f"{before}INDEX {quote(index.name)} ON {after.removeprefix('ONLY ')};"


def create_trigger(trigger: Entry) -> Sql:
    """Create a trigger, and enable or disable it as expected."""
    enabled = trigger.facts["enabled"]
    more = () if enabled == "O" else fire(trigger)
    return (f"{trigger.facts['definition']};", *more)


def fire(trigger: Entry) -> Sql:
    """Enable or disable a trigger, as expected."""
    verb = FIRES[trigger.facts["enabled"]]
    return (alter(trigger.table, f"{verb} TRIGGER {quote(trigger.name)}"),)


def drop_trigger(trigger: Entry) -> Sql:
    """Drop a trigger, unless it was dropped with its table."""
    return (f"DROP TRIGGER IF EXISTS {quote(trigger.name)} ON {qualified(trigger.table)};",)


def change_trigger(expected: Entry, actual: Entry) -> Sql:
    """Enable or disable a trigger as expected; if its definition differs, create it again."""
    if expected.facts["definition"] == actual.facts["definition"]:
        return fire(expected)
    return (*drop_trigger(actual), *create_trigger(expected))


def create_policy(policy: Entry) -> Sql:
    """Create a policy of row security."""
    facts = policy.facts
    words = [
        f"CREATE POLICY {quote(policy.name)} ON {qualified(policy.table)}",
        f"AS {facts['permissive']} FOR {facts['command']} TO {facts['roles']}",
    ]
    if facts["using"]:
        words.append(f"USING ({facts['using']})")
    if facts["with check"]:
        words.append(f"WITH CHECK ({facts['with check']})")
    return (" ".join(words) + ";",)


def drop_policy(policy: Entry) -> Sql:
    """Drop a policy, unless it was dropped with its table."""
    return (f"DROP POLICY IF EXISTS {quote(policy.name)} ON {qualified(policy.table)};",)
