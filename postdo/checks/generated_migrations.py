"""Migrations that postdo would write itself in development: none of them removes anything.

What holds no rows in one database may hold some in another: the embedded one and that of Docker, a
colleague's. So a migration that removes a table or a column, or that makes a type smaller, is left
to a person, whatever this database holds.
"""

from __future__ import annotations

from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.operations import (
    AlterField,
    AlterOrderWithRespectTo,
    DeleteModel,
    RemoveField,
)
from django.db.migrations.state import ProjectState

from postdo.base.context import Run
from postdo.base.errors import Refused
from postdo.django_migrations.model_changes import ModelChanges
from postdo.rehearsal.data_loss import may_round

OF_A_MODEL = (DeleteModel, AlterOrderWithRespectTo)
OF_A_FIELD = (RemoveField, AlterField)
# How Django writes types that format_type, and so ``may_round``, writes otherwise.
SPELLINGS = (("varchar", "character varying"), ("char(", "character("), (", ", ","))


def require_nothing_removed(run: Run, found: ModelChanges) -> None:
    """Raise ``Refused`` if what Django would write now can delete rows, values or parts of them."""
    removing = tuple(
        f"{migration.app_label}: {operation.describe()}"
        for migration in found.missing
        for operation in migration.operations
        if _removes(operation, migration.app_label, found.state)
    )
    if removing:
        raise Refused(
            "a new migration would remove data, so postdo does not write it",
            "to remove it on purpose, write the migration yourself "
            f"(`{run.config.manage('makemigrations')}`) and try again; otherwise restore the "
            "removed model or field",
            details=removing,
        )


def _removes(operation: Any, label: str, state: ProjectState) -> bool:
    """``state``: of the models before. The autodetector renames nothing unasked, so that it has
    what each operation removes.
    """
    if isinstance(operation, OF_A_MODEL):
        name = operation.name
    elif isinstance(operation, OF_A_FIELD):
        name = operation.model_name
    else:
        return False
    model: Any = state.apps.get_model(label, name)
    if not operation.allow_migrate_model(DEFAULT_DB_ALIAS, model):
        return False  # nothing happens in this database: not managed, a proxy, or routed elsewhere
    if isinstance(operation, OF_A_FIELD):
        return _removes_values(operation, model._meta.get_field(operation.name))
    ordered = model._meta.order_with_respect_to
    return isinstance(operation, DeleteModel) or (ordered and not operation.order_with_respect_to)


def _removes_values(operation: Any, field: Any) -> bool:
    if isinstance(operation, AlterField):
        return _is_made_smaller(field, operation.field)
    if field.many_to_many:
        return bool(field.remote_field.through._meta.auto_created)
    return _type(field) is not None and not getattr(field, "generated", False)


def _is_made_smaller(old: Any, new: Any) -> bool:
    types = _type(old), _type(new)
    if None in types or old.is_relation or new.is_relation or getattr(old, "generated", False):
        return False
    return may_round(*map(_spelled, types))


def _type(field: Any) -> Any:
    """Of its column, ``None`` if it has none."""
    return field.db_parameters(connections[DEFAULT_DB_ALIAS])["type"]


def _spelled(type_: str) -> str:
    for django, server in SPELLINGS:
        type_ = type_.replace(django, server)
    return type_
