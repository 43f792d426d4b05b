"""Load migrations from the journal's archive when their file is missing or was edited.

To know what an applied migration did, one needs the source that was applied, not the one that is on
disk now. ``ArchivedLoader`` is Django's ``MigrationLoader`` with the archived source in the place
of the file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from django.apps import apps
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration
from django.db.migrations.recorder import MigrationRecorder

from postdo.django_migrations.history import Name, dotted

Names = frozenset[Name]


class ArchivedLoader(MigrationLoader):
    """Django's loader, but archived sources take precedence over the files on disk.

    ``sources``: text per migration. ``applied``: what is recorded in the database that is to be
    built again. The graph is that database's; ``targets`` is what is applied in it.
    """

    def __init__(
        self, connection: BaseDatabaseWrapper, sources: Mapping[Name, str], applied: Names
    ) -> None:
        self._sources = sources
        recorded = dict.fromkeys(applied)
        with patch.object(MigrationRecorder, "applied_migrations", lambda _: dict(recorded)):
            super().__init__(connection)
        # As Django sees it: a squashed migration instead of the ones that it replaces.
        self.targets = sorted(name for name in self.applied_migrations if name in self.graph.nodes)
        self.applied_migrations = {}

    def load_disk(self) -> None:
        """Load the files on disk as Django does, then replace them by the archived sources."""
        modules = {name: self._module(name, text) for name, text in self._sources.items()}
        # Where Django imports a file by name, it gets ours instead.
        for module in modules.values():
            sys.modules[module.__name__] = module
        super().load_disk()
        for (app, name), module in modules.items():
            archived: type[Migration] = module.Migration
            self.disk_migrations[app, name] = archived(name, app)
            self.migrated_apps.add(app)
            self.unmigrated_apps.discard(app)

    def _module(self, migration: Name, text: str) -> ModuleType:
        """The module that the file would have made, under its own name and beside its package."""
        app, name = migration
        package, folder = self._package(app)
        module = ModuleType(f"{package}.{name}")
        module.__package__ = package
        module.__file__ = str(folder / f"{name}.py")  # some read a file that lies beside them
        code = compile(text, f"{app}/{name}.py (archived)", "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102  it was applied to this database before
        return module

    def _package(self, app: str) -> tuple[str, Path]:
        """Name and folder of an app's migrations; made up for an app that is no more."""
        if app in apps.app_configs:
            package, _ = self.migrations_module(app)
            if package:
                with suppress(ImportError):
                    places = list(getattr(import_module(package), "__path__", []))
                    return package, Path(places[0] if places else ".")
                return package, Path(apps.get_app_config(app).path) / "migrations"
        return f"{app}.migrations", Path()


class ArchivedExecutor(MigrationExecutor):
    """Django's executor with an ``ArchivedLoader``."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        loader: ArchivedLoader,
        progress: Callable[..., None],
    ) -> None:
        # Not the parent's: that one reads the disk, and fails where a file is missing.
        self.connection = connection
        self.loader: ArchivedLoader = loader
        self.recorder = MigrationRecorder(connection)
        self.progress_callback = progress

    def apply_targets(self, done: Names = frozenset()) -> tuple[Any, list[Any]]:
        """Apply the loader's targets. Returns the state after them, and the plan of all of them.

        ``done``: what is applied in this database already. Raises the migrations' errors,
        ``NodeNotFoundError`` if a file is neither on disk nor archived, and ``ValueError`` if the
        targets do not build on ``done``.
        """
        self.recorder.ensure_schema()
        names: dict[Name, None] = {}
        for target in self.loader.targets:
            names.update(dict.fromkeys(self.loader.graph.forwards_plan(target)))
        if not names.keys() >= done:
            raise ValueError(f"not among the targets: {dotted(tuple(sorted(done - names.keys())))}")
        plan = [(self.loader.graph.nodes[name], False) for name in names]
        missing = [step for name, step in zip(names, plan, strict=True) if name not in done]
        django: Any = self  # what follows is not public, and the same in Django 4.2 to 6.1
        state = django._create_project_state()
        for name in (one for one in names if one in done):
            self.loader.graph.nodes[name].mutate_state(state, preserve=False)
        state = django._migrate_all_forwards(state, missing, plan, fake=False, fake_initial=False)
        self.check_replacements()
        return state, plan
