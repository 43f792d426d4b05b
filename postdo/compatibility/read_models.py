"""What the models of a release use of the database: tables, columns, and the rules they know."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from django.apps.registry import Apps
from django.db import DatabaseError, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import NOT_PROVIDED, Field, Model, UniqueConstraint
from django.db.models.options import Options

from postdo.base.database import rows
from postdo.compatibility.constraints import check_promise, foreign_promise, unique_promise
from postdo.journal.model_usage import ColumnUse, ModelUse, TableUse

IDLE = 0  # libpq's PQTRANS_IDLE, the same number in psycopg2 and psycopg 3
# What a field may ask for that is no type: each makes a column of this type. PostgreSQL 14 to 18.
SERIALS = {"serial": "integer", "bigserial": "bigint", "smallserial": "smallint"}
# One plan whose output columns are printed with their types in full. Runs nothing.
# PostgreSQL 14 to 18.
SPELL = "EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) SELECT {casts}"


def model_use(apps: Apps, session: BaseDatabaseWrapper, release: str) -> ModelUse:
    """What the models of a registry use of the database.

    ``apps``: the real registry, or a migration state's. Only models whose tables ``migrate`` makes
    in this database count. It asks the server once how it spells their types, and changes nothing.
    """
    tables = [
        _table_use(model, session)
        for model in apps.get_models(include_auto_created=True)
        if model._meta.can_migrate(session) and router.allow_migrate_model(session.alias, model)
    ]
    spelled = _spelled(session, {column.type for table in tables for column in table.columns})
    tables = [
        replace(
            table,
            columns=tuple(replace(column, type=spelled[column.type]) for column in table.columns),
        )
        for table in tables
    ]
    return ModelUse(release=release, tables=tuple(sorted(tables, key=lambda one: one.model)))


def _table_use(model: type[Model], session: BaseDatabaseWrapper) -> TableUse:
    meta = model._meta
    fields = [field for field in meta.local_concrete_fields if field.db_type(session)]
    return TableUse(
        model=meta.label,
        table=meta.db_table.strip('"').replace('"."', "."),
        columns=tuple(_column_use(field, meta, session) for field in fields),
        rules=tuple(sorted(_promises(meta, fields, session))),
    )


def _column_use(
    field: Field[Any, Any], meta: Options[Any], session: BaseDatabaseWrapper
) -> ColumnUse:
    kind = str(field.db_type(session))
    # Defaults in the database and generated columns: Django 5.0 and newer.
    default = getattr(field, "db_default", NOT_PROVIDED) is not NOT_PROVIDED
    return ColumnUse(
        name=str(field.column),
        type=SERIALS.get(kind.lower(), kind),
        null=field.null,
        written=not getattr(field, "generated", False),
        default=default or field is meta.auto_field,
        field=field.name,
    )


def _promises(
    meta: Options[Any], fields: list[Field[Any, Any]], session: BaseDatabaseWrapper
) -> Iterator[str]:
    def columns(names: Iterable[str]) -> list[str]:
        return [str(getattr(meta.get_field(name), "column", name)) for name in names]

    for field in fields:
        if field.unique:
            yield unique_promise([str(field.column)])
        if field.remote_field is not None and isinstance(field.remote_field.model, type):
            target = field.remote_field.model._meta.db_table
            yield foreign_promise(str(field.column), target.strip('"').rpartition('"."')[2])
        if check := field.db_parameters(session).get("check"):
            yield check_promise(str(check))
    for names in meta.unique_together:
        yield unique_promise(columns(names))
    for constraint in meta.constraints:
        yield f"constraint {constraint.name}"
        if isinstance(constraint, UniqueConstraint) and constraint.condition is None:
            yield unique_promise(columns(constraint.fields))


def _spelled(session: BaseDatabaseWrapper, types: set[str]) -> dict[str, str]:
    """How the server spells each type; one that it does not know keeps its own spelling."""
    known = _ask_spelling(session, sorted(types))
    if known is not None:
        return known
    alone = [_ask_spelling(session, [one]) or {one: one} for one in sorted(types)]
    return {name: spelling for one in alone for name, spelling in one.items()}


def _ask_spelling(session: BaseDatabaseWrapper, types: list[str]) -> dict[str, str] | None:
    if not types:
        return {}
    session.ensure_connection()
    connection: Any = session.connection
    inside = connection.info.transaction_status != IDLE
    casts = ", ".join(f"CAST(NULL AS {one})" for one in types)
    if inside:
        rows(session, "SAVEPOINT postdo_spelling")
    try:
        ((plan,),) = rows(session, SPELL.format(casts=casts))
    except DatabaseError:
        if inside:
            rows(session, "ROLLBACK TO SAVEPOINT postdo_spelling")
        return None
    printed = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]["Output"]
    return {
        one: text.removeprefix("NULL::") if text.startswith("NULL::") else one
        for one, text in zip(types, printed, strict=True)
    }
