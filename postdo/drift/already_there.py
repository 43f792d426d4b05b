"""Recognize what a migration created or dropped when it was already created or dropped by hand.

The expected schema is computed from what each release changed. Suppose that somebody created a view
by hand, and that a migration later runs CREATE OR REPLACE VIEW with the same definition. The
release changes nothing, so the expected schema does not get the view, and it would count as drift
for ever. The same is true of a column that was dropped by hand before a migration dropped it IF
EXISTS.

Only the migrations themselves can tell: ``with_adopted`` runs them on an empty database, and
accepts a difference if the result agrees with the real schema. That takes long, so it is done only
if a migration with RunSQL, RunPython or an operation of the project's own mentions an object that
differs.
"""

from __future__ import annotations

import re
from collections import Counter

from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import RunPython, RunSQL, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation

from postdo.base.errors import Refused
from postdo.django_migrations.history import Name
from postdo.drift.expected_schema import from_nothing
from postdo.drift.subject import Subject
from postdo.schema.catalogue import Catalogue, Entry
from postdo.schema.normalize import worded

DJANGOS_OPERATIONS = ("django.db.migrations.operations.", "django.contrib.postgres.operations")


def with_adopted(subject: Subject, wanted: Catalogue, actual: Catalogue) -> Catalogue:
    """``wanted``, changed to what ``actual`` has wherever the migrations make that from nothing.

    So what somebody made by hand before a migration would have is no drift. The migrations are run
    only if one that does more than Django's own operations names an object that differs; all others
    show what they do. Returns ``wanted`` itself if there is nothing to adopt, or if they cannot be
    run.
    """
    beyond, lacking = _without(actual, wanted), _without(wanted, actual)
    if not _is_named(subject, set(map(_bare, filter(_is_told_apart, (*beyond, *lacking))))):
        return wanted
    try:
        made = from_nothing(subject, subject.known)
    except Refused:
        return wanted
    made = worded(subject.session, made, actual)
    there = {entry.identity for entry in made.entries}
    more = [entry for entry in beyond if entry.identity in there]
    less = {entry.identity for entry in lacking if entry.identity not in there}
    if not (more or less):
        return wanted
    kept = [entry for entry in wanted.entries if entry.identity not in less]
    return Catalogue(wanted.major, (*kept, *more))


def does_more(loader: MigrationLoader, name: Name) -> bool:
    """Whether a migration may change rows or schema in ways that its operations do not declare."""
    return any(map(_is_hidden, loader.graph.nodes[name].operations))


def _is_hidden(operation: Operation) -> bool:
    if isinstance(operation, SeparateDatabaseAndState):
        return any(map(_is_hidden, operation.database_operations))
    if isinstance(operation, RunPython):
        return operation.code is not RunPython.noop
    if isinstance(operation, RunSQL):
        return operation.sql != RunSQL.noop
    # What a project's own class of operations does, nobody knows.
    return not type(operation).__module__.startswith(DJANGOS_OPERATIONS)


def _without(one: Catalogue, other: Catalogue) -> list[Entry]:
    """What the first has and the second has not."""
    there = Counter(entry.identity for entry in other.entries)
    found = []
    for entry in one.entries:
        there[entry.identity] -= 1
        if there[entry.identity] < 0:
            found.append(entry)
    return found


def _is_told_apart(entry: Entry) -> bool:
    """Columns of a view are named as those of its tables are."""
    return entry.kind != "column" or entry.facts["from"] != "view"


def _bare(entry: Entry) -> str:
    """Its own name, without schema and arguments."""
    return entry.name.partition("(")[0].rpartition(".")[2]


def _is_named(subject: Subject, names: set[str]) -> bool:
    if not names:
        return False
    named = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, sorted(names)))})(?!\w)")
    loader = MigrationLoader(None, ignore_no_migrations=True)
    return any(
        named.search(source.text) and (name not in loader.graph.nodes or does_more(loader, name))
        for name, source in subject.archived.items()
        if name in subject.known
    )
