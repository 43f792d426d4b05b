"""Migrations that postdo wrote itself in development: none of them deletes rows unasked.

What deletes nothing in one database may delete rows in another: the embedded one and that of
Docker, a colleague's. So the files that remove something carry a mark, and are looked at once more
where they are applied. ``manage.py makemigrations`` and ``migrate`` are how a person says yes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration
from django.db.migrations.operations import (
    AlterField,
    AlterOrderWithRespectTo,
    DeleteModel,
    RemoveField,
)
from django.db.migrations.state import ProjectState

from postdo.base import sqlstates
from postdo.base.context import Run
from postdo.base.database import message, rows, sqlstate
from postdo.base.errors import Refused
from postdo.base.project import Project
from postdo.django_migrations.history import History, Name, dotted
from postdo.django_migrations.model_changes import ModelChanges
from postdo.journal.sources import read_sources
from postdo.plan.refusals import loss_sentence
from postdo.rehearsal.data_loss import Uncounted, count_rounded, may_round
from postdo.rehearsal.trace import Loss

MARK = "# Written by postdo, unasked: it applies this file by itself only where no row is lost.\n"
REMOVING = (DeleteModel, RemoveField, AlterField, AlterOrderWithRespectTo)
OF_A_MODEL = (DeleteModel, AlterOrderWithRespectTo)  # whose name is the model's, not a field's
# The schema in which a name without one is found, NULL if it is not. PostgreSQL 14 to 18.
SCHEMA = """
SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass(%s)
"""
NOTHING_TO_LOSE = (
    sqlstates.UNDEFINED_TABLE,
    sqlstates.UNDEFINED_COLUMN,
    sqlstates.CANNOT_COERCE,
)
BAD_VALUE = "22"  # the class of values that the new type does not take
# How Django writes types that format_type, and so ``may_round``, writes otherwise.
SPELLINGS = (("varchar", "character varying"), ("char(", "character("), (", ", ","))


def require_no_loss_of_new(
    run: Run, session: BaseDatabaseWrapper, before: History, found: ModelChanges
) -> bool:
    """Raise ``Refused`` if what Django would write now deletes rows of the database.

    Returns whether it removes anything, and so has to be marked.
    """
    removes = [one for one in found.missing if _removes(one)]
    if not removes or not before.recorded:  # nothing was ever applied: there are no rows to lose
        return bool(removes)
    if not before.settled:
        waiting = dotted(before.unrecorded) or before.unsure or "an earlier run did not end"
        raise Refused(
            "a new migration would remove tables or columns; whether they hold data is known only "
            f"after the pending migrations ({waiting}) are applied",
            f"run `{run.config.manage('migrate')}`, and start again",
        )
    losses = [loss for one in removes for loss in _losses(session, one, found.state)]
    if losses:
        raise Refused(
            f"a new migration would {_listed(losses)}, so it is not written unasked",
            f"if you want that, write it yourself (`{run.config.manage('makemigrations')}`) and "
            "start again; if not, restore the removed model or field",
        )
    return True


def no_loss(
    run: Run, project: Project, session: BaseDatabaseWrapper, before: History
) -> Callable[[Name], None]:
    """What is called before each migration: it raises ``Refused`` if that deletes rows unasked."""
    pending = frozenset(before.unrecorded) if before.recorded else frozenset()
    marked = {one.name for one in read_sources(project, pending) if MARK in one.text}

    def look(name: Name) -> None:
        if name not in marked:
            return
        loader = MigrationLoader(connections[DEFAULT_DB_ALIAS])
        state = loader.project_state(name, at_end=False)
        losses = list(_losses(session, loader.graph.nodes[name], state))
        if losses:
            raise Refused(
                f"{dotted((name,))} was written by postdo, and would {_listed(losses)} in this "
                "database",
                f"if you want that, apply it yourself (`{run.config.manage('migrate')}`); if not, "
                "delete the file, and restore the removed model or field",
            )

    return look


def mark(files: Iterable[str]) -> None:
    """Let everyone who meets these migrations know that no person asked for them."""
    for path in map(Path, files):
        text = path.read_text(encoding="utf-8")
        path.write_text(MARK + text, encoding="utf-8")


def _removes(migration: Migration) -> bool:
    return any(isinstance(one, REMOVING) for one in migration.operations)


def _listed(losses: Sequence[Loss]) -> str:
    return ", ".join(map(loss_sentence, losses))


def _losses(
    session: BaseDatabaseWrapper, migration: Migration, state: ProjectState
) -> Iterator[Loss]:
    """What its operations would delete; ``state``: of the models before it.

    The autodetector renames nothing unasked, so that this state has what each of them removes.
    """
    for operation in migration.operations:
        for one in _removed(session, operation, migration.app_label, state):
            lost = _count(session, one)
            if lost:
                yield Loss(one.kind, one.table, one.name, lost)


def _removed(
    session: BaseDatabaseWrapper, operation: Any, label: str, state: ProjectState
) -> Iterator[Uncounted]:
    """Tables and columns that one operation takes away or makes smaller."""
    if not isinstance(operation, REMOVING):
        return
    connection = connections[DEFAULT_DB_ALIAS]
    name = operation.name if isinstance(operation, OF_A_MODEL) else operation.model_name
    model: Any = state.apps.get_model(label, name)
    if not operation.allow_migrate_model(DEFAULT_DB_ALIAS, model):
        return  # nothing happens in this database: not managed, a proxy, or routed elsewhere
    if isinstance(operation, OF_A_MODEL):
        yield from _removed_of_model(session, operation, model)
        return
    field = model._meta.get_field(operation.name)
    if field.many_to_many:
        if isinstance(operation, RemoveField) and field.remote_field.through._meta.auto_created:
            yield _table(session, field.remote_field.through)
        return
    type_ = field.db_parameters(connection)["type"]
    if type_ is None or getattr(field, "generated", False):
        return  # no column, or one that is computed from others
    if isinstance(operation, RemoveField):
        yield _column(session, model, field)
    elif not (field.is_relation or operation.field.is_relation):
        new = operation.field.db_parameters(connection)["type"]
        if new and may_round(_spelled(type_), _spelled(new)):
            yield _rounded(session, model, field, type_, new)


def _removed_of_model(
    session: BaseDatabaseWrapper, operation: Any, model: Any
) -> Iterator[Uncounted]:
    """The same for one operation on a whole model."""
    if isinstance(operation, DeleteModel):
        yield _table(session, model)
        for field in model._meta.local_many_to_many:
            if field.remote_field.through._meta.auto_created:
                yield _table(session, field.remote_field.through)
    elif model._meta.order_with_respect_to and not operation.order_with_respect_to:
        yield _column(session, model, model._meta.get_field("_order"))


def _table(session: BaseDatabaseWrapper, model: Any) -> Uncounted:
    place, quoted = _place(session, model)
    return Uncounted("table", place, "", f"SELECT count(*) FROM {quoted}")  # noqa: S608  quoted


def _column(session: BaseDatabaseWrapper, model: Any, field: Any) -> Uncounted:
    place, quoted = _place(session, model)
    column = session.ops.quote_name(field.column)
    sql = f"SELECT count({column}) FROM {quoted}"  # noqa: S608  quoted
    return Uncounted("column", place, field.column, sql)


def _rounded(session: BaseDatabaseWrapper, model: Any, field: Any, old: str, new: str) -> Uncounted:
    place, quoted = _place(session, model)
    column = session.ops.quote_name(field.column)
    return Uncounted("rounded", place, field.column, count_rounded(quoted, column, old, new))


def _place(session: BaseDatabaseWrapper, model: Any) -> tuple[str, str]:
    """The model's table, with its schema for a message, and quoted for SQL."""
    quoted: str = session.ops.quote_name(model._meta.db_table)
    found = rows(session, SCHEMA, quoted)
    return f"{found[0][0]}.{model._meta.db_table}" if found else model._meta.db_table, quoted


def _count(session: BaseDatabaseWrapper, one: Uncounted) -> int:
    """How much of it there is. What is not there, or cannot be cast, is not lost: it fails.

    Raises ``Refused`` if nobody can tell, such as where this role may not read the table.
    """
    try:
        return int(rows(session, one.sql)[0][0])
    except DatabaseError as error:
        state = sqlstate(error) or ""
        if state in NOTHING_TO_LOSE or state.startswith(BAD_VALUE):
            return 0
        raise Refused(
            f"what {one.table} holds cannot be counted: {message(error)}",
            "correct that, and start again",
        ) from error


def _spelled(type_: str) -> str:
    for django, server in SPELLINGS:
        type_ = type_.replace(django, server)
    return type_
