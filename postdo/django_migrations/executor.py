"""What Django's ``migrate`` would apply, asked of its own executor."""

from __future__ import annotations

from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor


def pending_migrations(executor: MigrationExecutor) -> list[Migration]:
    """All migrations that are not applied, in the order in which ``migrate`` would apply them."""
    return [one for one, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]
