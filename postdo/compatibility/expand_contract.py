"""The expand and contract steps for a change that the serving release cannot live with.

Texts only, with the names of the table at hand; docs/expand-contract.md explains them for people.
A "release" is one deploy: its migration runs while the release before it is still serving. Where
there is a choice, the steps say "either" and "or".
"""

from __future__ import annotations

from dataclasses import dataclass

import django

HAS_DB_DEFAULT = (5, 0)  # Django
Steps = tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """The place of a change. ``model``: ``shop.Item``; ``table``: without the schema ``public``.

    ``column`` and ``field``: names in the database and in the model. The field is empty if only the
    new code knows it.
    """

    model: str
    table: str
    column: str = ""
    field: str = ""

    @property
    def quoted(self) -> str:
        """The table as a quoted SQL identifier."""
        return ".".join(f'"{part}"' for part in self.table.split("."))

    @property
    def model_name(self) -> str:
        """The model's name as migration operations take it: lower case, without the app."""
        return self.model.rpartition(".")[2].lower()


def rename_column(place: Place, new: str) -> Steps:
    """Steps for a column that gets the name ``new``."""
    old = place.column
    return (
        f'either rename it in Python only: db_column="{old}" on the field of {place.model}; the '
        "database does not change, and one release is enough",
        f'or rename it in the database too: release 1: add "{new}" as a second field with '
        f'null=True; the code writes both and reads "{old}"; then {_fill(place, new, old)}',
        f'release 2: the code reads and writes only "{new}"; keep the old column: '
        f"{_leave_column(place)}",
        f"release 3: {_drop_column(place)}",
    )


def drop_column(place: Place) -> Steps:
    """Steps for a column that is removed."""
    return (
        f"release 1: remove the field from {place.model} and from the code, but keep the column: "
        f"{_leave_column(place)}",
        f"release 2: {_drop_column(place)}",
    )


def rename_table(place: Place, new: str) -> Steps:
    """Steps for a table that gets the name ``new``."""
    return (
        f'either rename the model only: db_table = "{place.table}" in its Meta, in the same '
        "migration as RenameModel; the database does not change; if the model has many-to-many "
        'fields, keep their tables too: ManyToManyField(db_table="…")',
        f'or rename the table to "{new}" in a maintenance window',
    )


def drop_table(place: Place) -> Steps:
    """Steps for a table that is removed."""
    name = place.model.rpartition(".")[2]
    return (
        f"release 1: remove {place.model} from the code, but keep the table: "
        f'SeparateDatabaseAndState(state_operations=[migrations.DeleteModel("{name}")], '
        "database_operations=[…]); in place of … drop the table's foreign keys with a RunSQL, or "
        "the rows that they point to can no longer be deleted",
        f"release 2: migrations.RunSQL('DROP TABLE {place.quoted}')",
    )


def add_not_null(place: Place) -> Steps:
    """Steps for a new column that is NOT NULL, which the serving release does not fill."""
    if django.VERSION >= HAS_DB_DEFAULT:
        return (
            f'give the field of "{place.column}" a db_default (such as db_default="" or '
            "db_default=0); the database then fills the column for the running version, and one "
            "release is enough",
        )
    return (
        f'release 1: add "{place.column}" with null=True; the code always writes it; then '
        f"{_fill(place, place.column)}",
        "releases 2 and 3: make it NOT NULL as docs/expand-contract.md says under NOT NULL",
    )


def make_not_null(place: Place) -> Steps:
    """Steps for a column that becomes NOT NULL, while the serving release may write NULL."""
    name, column = f"{place.table.rpartition('.')[2]}_{place.column}_filled", place.column
    return (
        f"release 1: null=False on the field of {place.model}, without changing the database: "
        "SeparateDatabaseAndState(state_operations=[migrations.AlterField(…)]); the code no "
        f"longer writes NULL; then {_fill(place, column)}",
        f'release 2: migrations.RunSQL(\'ALTER TABLE {place.quoted} ADD CONSTRAINT "{name}" '
        f'CHECK ("{column}" IS NOT NULL) NOT VALID\'); in the next migration (NOT NULL then reads '
        f"no rows): migrations.RunSQL(['ALTER TABLE {place.quoted} VALIDATE CONSTRAINT "
        f'"{name}"\', \'ALTER TABLE {place.quoted} ALTER COLUMN "{column}" SET NOT NULL\', '
        f"'ALTER TABLE {place.quoted} DROP CONSTRAINT \"{name}\"'])",
    )


def change_type(place: Place, new_type: str) -> Steps:
    """Steps for a column that gets a type of another kind."""
    second = f"{place.column}_new"
    return (
        f'release 1: add "{second}" of type {new_type} as a second field with null=True; the code '
        f'writes both and reads "{place.column}"; then {_fill(place, second)}',
        f'release 2: the code reads and writes only "{second}"; keep the old column: '
        f"{_leave_column(place)}",
        f"release 3: {_drop_column(place)}; the field can have its old name again, with "
        f'db_column="{second}"',
    )


def narrow_type(place: Place, new_type: str) -> Steps:
    """Steps for a column whose new type holds less, such as a shorter text."""
    return (
        f"release 1: the narrower field ({new_type}) on {place.model}, without changing the "
        "database: SeparateDatabaseAndState(state_operations=[migrations.AlterField(…)]); the code "
        "obeys the new limit; then correct the rows that exceed it",
        f"release 2: migrations.RunSQL('ALTER TABLE {place.quoted} ALTER COLUMN "
        f'"{place.column}" TYPE {new_type}\')',
    )


def add_unique(place: Place, name: str, columns: str) -> Steps:
    """Steps for a new unique constraint ``name`` on ``columns``, which are for a person to read."""
    return (
        f"release 1: the constraint {name} in Meta.constraints of {place.model}, without changing "
        "the database: SeparateDatabaseAndState(state_operations=[migrations.AddConstraint(…)]); "
        f"the code obeys it; then correct the rows that have the same ({columns})",
        f'release 2: migrations.RunSQL(\'ALTER TABLE {place.quoted} ADD CONSTRAINT "{name}" '
        f"UNIQUE (…)')",
    )


def add_check(place: Place, name: str) -> Steps:
    """Steps for a new check constraint ``name``."""
    return (
        f"release 1: the constraint {name} in Meta.constraints of {place.model}, without changing "
        "the database: SeparateDatabaseAndState(state_operations=[migrations.AddConstraint(…)]); "
        "the code obeys it; then correct the rows that violate it",
        f'release 2: migrations.RunSQL(\'ALTER TABLE {place.quoted} ADD CONSTRAINT "{name}" '
        "CHECK (…) NOT VALID'); in the next migration: ValidateConstraint "
        "(django.contrib.postgres.operations)",
    )


def add_foreign_key(place: Place, name: str, target: str) -> Steps:
    """Steps for a new foreign key ``name`` to the table ``target``."""
    return (
        f"release 1: ForeignKey(…, db_constraint=False) on {place.model}; the code writes only "
        f"values that exist in {target}; then correct the rows that refer to missing rows",
        "release 2: remove db_constraint=False, with SeparateDatabaseAndState: the AlterField in "
        "state_operations, and in database_operations "
        f"migrations.RunSQL('ALTER TABLE {place.quoted} ADD CONSTRAINT "
        f'"{name}" FOREIGN KEY ("{place.column}") REFERENCES … DEFERRABLE INITIALLY DEFERRED '
        f"NOT VALID'); in the next migration: migrations.RunSQL('ALTER TABLE {place.quoted} "
        f'VALIDATE CONSTRAINT "{name}"\')',
    )


def keep_default(place: Place) -> Steps:
    """Steps for a column that loses its default, which the serving release relies on."""
    return (
        f'release 1: the code writes "{place.column}" in each new row; keep the default',
        f"release 2: migrations.RunSQL('ALTER TABLE {place.quoted} ALTER COLUMN "
        f'"{place.column}" DROP DEFAULT\'), or remove db_default from the field',
    )


def make_generated(place: Place) -> Steps:
    """Steps for a column that the database will compute, while the serving release writes it."""
    return (
        "release 1: add the generated column under another name; the code reads that one, and "
        f'still writes "{place.column}"',
        f"release 2: the code no longer writes it; keep the column: {_leave_column(place)}",
        f"release 3: {_drop_column(place)}",
    )


def make_view(place: Place) -> Steps:
    """Steps for a table that becomes a view, while the serving release writes to it."""
    return (
        f"release 1: {place.model} writes to a new table with another name; {place.table} stays",
        f"release 2: replace {place.table} with the view",
    )


def _leave_column(place: Place) -> str:
    field = place.field or place.column
    return (
        "SeparateDatabaseAndState(state_operations=[migrations.RemoveField("
        f'"{place.model_name}", "{field}")], database_operations=[migrations.RunSQL('
        f"'ALTER TABLE {place.quoted} ALTER COLUMN \"{place.column}\" DROP NOT NULL')])"
    )


def _drop_column(place: Place) -> str:
    return f"migrations.RunSQL('ALTER TABLE {place.quoted} DROP COLUMN \"{place.column}\"')"


def _fill(place: Place, column: str, source: str = "") -> str:
    value = f'"{source}"' if source else "…"
    # For a person to read and to run in pieces.
    return f'fill it: UPDATE {place.quoted} SET "{column}" = {value} WHERE "{column}" IS NULL'  # noqa: S608
