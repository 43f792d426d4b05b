"""Describe the pending migrations for a person: their package, their operations, their SQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration
from django.db.transaction import atomic, set_rollback

from postdo.base.context import Run
from postdo.base.errors import Refused, one_line
from postdo.base.project import Project
from postdo.checks.packages import package_of
from postdo.django_migrations.executor import pending_migrations
from postdo.django_migrations.model_changes import unreadable
from postdo.journal.sources import read_sources
from postdo.plan.findings import Pending

# Nothing in this transaction can change anything, whatever an operation does. PostgreSQL 14 to 18.
READ_ONLY = "SET TRANSACTION READ ONLY"


def pending(run: Run, project: Project, *, with_sql: bool = True) -> tuple[Pending, ...]:
    """What ``migrate`` would apply, in its order. The project must be set up.

    Django's own connection to the default database must not be in a transaction. Raises ``Refused``
    if the migrations have no valid order.

    ``with_sql``: whether to render the SQL, which costs about as much as applying it. A migration
    that is not atomic is rendered in any case, because its SQL shows what must not be in a
    transaction.
    """
    worker = connections[DEFAULT_DB_ALIAS]
    try:
        executor = MigrationExecutor(worker)
        migrations = pending_migrations(executor)
    except Error:
        raise
    except Exception as error:
        raise unreadable(error) from error
    names = {(one.app_label, one.name) for one in migrations}
    checksums = {one.name: one.checksum for one in read_sources(project, names)}
    labels = {label for label, _ in names}
    packages = {app.label: package_of(app) for app in project.apps if app.label in labels}
    wanted = {one for one in migrations if with_sql or not one.atomic}
    sql = _all_sql(run, executor, migrations, wanted) if wanted else {}
    return tuple(
        Pending(
            name=f"{one.app_label}.{one.name}",
            package=packages.get(one.app_label, ""),
            atomic=bool(one.atomic),
            operations=tuple(str(operation.describe()) for operation in one.operations),
            sql=sql.get(one, ()),
            checksum=checksums.get((one.app_label, one.name), ""),
        )
        for one in migrations
    )


def _all_sql(
    run: Run, executor: Any, migrations: list[Migration], wanted: set[Migration]
) -> dict[Migration, tuple[str, ...]]:
    """What Django would send for each that is wanted, and nothing is sent."""
    worker: BaseDatabaseWrapper = executor.connection
    state = executor._create_project_state(with_applied_migrations=True)
    found: dict[Migration, tuple[str, ...]] = {}
    with atomic(DEFAULT_DB_ALIAS):
        with worker.cursor() as cursor:
            cursor.execute(READ_ONLY)
        for migration in migrations:
            run.stop.check()
            if migration in wanted:
                # Rendered once, as Django does: the next states change only what differs.
                _ = state.apps
                found[migration], state = _sql(worker, migration, state)
            else:
                state = _state_after(migration, _unrendered(state))
        set_rollback(True, DEFAULT_DB_ALIAS)
    return found


def _sql(
    worker: BaseDatabaseWrapper, migration: Migration, before: Any
) -> tuple[tuple[str, ...], Any]:
    """The SQL of one migration, and the state after it."""
    after = before.clone()
    whole = all(operation.reduces_to_sql for operation in migration.operations)
    try:
        with (
            atomic(DEFAULT_DB_ALIAS),
            _as_it_runs(worker, migration),
            worker.schema_editor(collect_sql=True, atomic=bool(migration.atomic)) as editor,
        ):
            migration.apply(after, editor, collect_sql=True)
        sql = tuple(map(str, editor.collected_sql))
    # An operation that looks for what an earlier one would have made, or one that does not collect.
    except Exception as error:  # noqa: BLE001
        sql, whole = (f"-- unknown until the migration runs: {one_line(error)}",), False
    if whole:
        return sql, after
    # Collecting leaves out the operations that cannot be written as SQL, and stops at an error.
    return sql, _state_after(migration, before)


def _state_after(migration: Migration, before: Any) -> Any:
    try:
        return migration.mutate_state(before, preserve=False)
    except Exception as error:
        name = f"{migration.app_label}.{migration.name}"
        raise Refused(
            f"{name} does not fit the migrations before it: {type(error).__name__}: "
            f"{one_line(error)}",
            f"fix {name}; Django's own migrate would fail in the same way",
        ) from error


def _unrendered(state: Any) -> Any:
    """The state without its models, which would be made anew with each change of it."""
    state.__dict__.pop("apps", None)
    return state


@contextmanager
def _as_it_runs(worker: BaseDatabaseWrapper, migration: Migration) -> Iterator[None]:
    """Inside, Django sees no transaction where the migration wants none (CONCURRENTLY checks)."""
    if migration.atomic:
        yield
        return
    kept = worker.in_atomic_block, worker.commit_on_exit
    worker.in_atomic_block = False
    try:
        yield
    finally:
        worker.in_atomic_block, worker.commit_on_exit = kept
