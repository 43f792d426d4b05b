"""What the models say that no migration says: Django's autodetector, asked without a person.

Imports all models and all migrations; needs no database. ``models.py`` decides what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from django.apps import apps as registry
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ProjectState
from django.utils import translation

from postdo.base.errors import Refused, one_line
from postdo.base.project import is_installed, load_command, where


@dataclass(frozen=True)
class ModelChanges:
    """Differences between the models and their migrations.

    ``own``, ``installed``: descriptions of the missing operations, per app label; ``own`` are the
    apps whose migrations belong to the project, ``installed`` those that came as a package.
    ``questions``: what only a person can answer before a migration is written.
    ``unmigrated``: tables of the project's apps that have models and no migrations at all, per app
    label: neither ``makemigrations`` nor ``migrate`` ever looks at them unasked (HAZARDS 16).
    ``missing``: the migrations of ``own`` apps as Django would write them, upon ``state``.
    """

    own: Mapping[str, tuple[str, ...]]
    installed: Mapping[str, tuple[str, ...]]
    questions: tuple[str, ...]
    unmigrated: Mapping[str, tuple[str, ...]]
    missing: tuple[Migration, ...]
    state: ProjectState


class _Listener(MigrationQuestioner):
    """Notes the questions that have no safe answer, and lets the autodetector go on."""

    def __init__(self) -> None:
        super().__init__(dry_run=True)
        self.questions: list[str] = []

    def ask_rename(
        self, model_name: str, old_name: str, new_name: str, field_instance: Any
    ) -> bool:
        self.questions.append(
            f"{model_name}: was {old_name} renamed to {new_name}? Without an answer, the "
            f"migration would drop {old_name} with its data"
        )
        return False

    def ask_rename_model(self, old_model_state: Any, new_model_state: Any) -> bool:
        self.questions.append(
            f"{old_model_state.app_label}: was {old_model_state.name} renamed to "
            f"{new_model_state.name}? Without an answer, the migration would drop the table of "
            f"{old_model_state.name} with its data"
        )
        return False

    def ask_not_null_addition(self, field_name: str, model_name: str) -> None:
        self.questions.append(
            f"{model_name}: {field_name} is new, NOT NULL and has no default: which value should "
            "existing rows get? (or give the field a default, or null=True)"
        )

    def ask_auto_now_add_addition(self, field_name: str, model_name: str) -> None:
        self.questions.append(
            f"{model_name}: {field_name} is new and auto_now_add: which value should existing "
            "rows get?"
        )


def find_changes(manage: Callable[[str], str]) -> ModelChanges:
    """Compare all models with their migrations, as ``makemigrations`` does, without asking anybody.

    The project must be set up and checked. ``manage``: gives the command line, for messages, of a
    ``manage.py`` command.

    Raises ``Refused`` if the migrations cannot be loaded, or if an app has two last migrations.
    """
    listener = _Listener()
    with translation.override(None):  # as Django's command does: no translated names in files
        loader = _loader()
        conflicts = loader.detect_conflicts()
        if conflicts:
            raise conflict(conflicts, manage)
        state = loader.project_state()
        detector = _detector_class()(state, ProjectState.from_apps(registry), listener)
        changes = detector.changes(graph=loader.graph)
    described = {
        label: tuple(
            operation.describe() for migration in migrations for operation in migration.operations
        )
        for label, migrations in sorted(changes.items())
    }
    own = {label: lines for label, lines in described.items() if _is_own(label)}
    installed = {label: lines for label, lines in described.items() if label not in own}
    return ModelChanges(
        own=own,
        installed=installed,
        questions=tuple(listener.questions),
        unmigrated=_unmigrated(loader),
        missing=tuple(one for label in own for one in changes[label]),
        state=state,
    )


def conflict(conflicts: Mapping[str, Any], manage: Callable[[str], str]) -> Refused:
    """The error for an app with two last migrations. ``conflicts``: app label to their names."""
    listed = "; ".join(f"{app}: {', '.join(sorted(names))}" for app, names in conflicts.items())
    return Refused(
        f"conflicting migrations: one app has two latest migrations ({listed})",
        f"run `{manage('makemigrations --merge')}` in development, commit the file and release "
        "again",
    )


def unreadable(error: Exception) -> Refused:
    """The error for migrations that Django cannot load or cannot put into an order."""
    place = where(error)
    return Refused(
        f"the migrations cannot be loaded: {type(error).__name__}: {one_line(error)}",
        f"fix them{f' at {place}' if place else ''}, commit and release again",
    )


def _unmigrated(loader: MigrationLoader) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for label in sorted(loader.unmigrated_apps):
        if loader.migrations_module(label)[0] is None or not _is_own(label):
            continue  # switched off on purpose (MIGRATION_MODULES), or not the project's to mend
        options = [model._meta for model in registry.get_app_config(label).get_models()]
        tables = tuple(one.db_table for one in options if one.managed and not one.proxy)
        if tables:
            found[label] = tables
    return found


def _loader() -> MigrationLoader:
    try:
        return MigrationLoader(None, ignore_no_migrations=True)
    except Exception as error:
        raise unreadable(error) from error


def _detector_class() -> type[MigrationAutodetector]:
    """The project's own autodetector where its ``makemigrations`` has one (Django 5.2)."""
    return getattr(load_command("makemigrations"), "autodetector", MigrationAutodetector)


def _is_own(label: str) -> bool:
    name, _ = MigrationLoader.migrations_module(label)
    if name is None:
        return True
    try:
        places = list(import_module(name).__path__)
    except (ImportError, AttributeError):  # there is none, or it is a module and no package
        places = [registry.get_app_config(label).path]
    return not all(is_installed(Path(place)) for place in places)
