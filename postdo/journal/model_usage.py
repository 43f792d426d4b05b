"""What a release uses of the database, as the journal keeps it: tables, columns, rules."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ColumnUse:
    """How a model uses a column. ``type``: as PostgreSQL names it (``character varying(50)``).

    - ``null``: whether the code may write NULL.
    - ``written``: whether it writes the column at all; a generated column is only read.
    - ``default``: whether an INSERT may leave the column to the database.
    - ``field``: its name in the model.
    """

    name: str
    type: str
    null: bool
    written: bool = True
    default: bool = False
    field: str = ""


@dataclass(frozen=True)
class TableUse:
    """A table that a release reads and writes. ``table``: with its schema if the model has one.

    ``rules``: constraints that the models know, and that the code therefore obeys, whether the
    database has them or not: ``constraint NAME``, ``unique a,b``, ``foreign column table``, ``check
    condition``.
    """

    model: str
    table: str
    columns: tuple[ColumnUse, ...]
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelUse:
    """Everything that a release's models use. ``release``: its version, empty if unknown."""

    release: str
    tables: tuple[TableUse, ...]
