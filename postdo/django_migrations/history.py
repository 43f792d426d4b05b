"""What migrations the project has, and which of them the database has recorded.

By names alone: no migration module is imported to learn that there is nothing to do, because that
costs seconds where there are hundreds. Whatever names cannot decide counts as not settled, and is
left to Django's own loader.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.database import rows
from postdo.base.formatting import listed
from postdo.base.project import App, Project

# Whether the recorder's table is there, and its comment. PostgreSQL 14 to 18.
RECORDER = """
SELECT to_regclass('django_migrations') IS NOT NULL,
       obj_description(to_regclass('django_migrations')::oid, 'pg_class')
"""
# Every migration that is recorded as applied: app label, name. Django 1.7 and newer.
RECORDED = "SELECT app, name FROM django_migrations"

# The comment on the recorder's table while a run is under way. One that is found later was left
# by a run that ended before its post_migrate handlers did, and these have to run again.
UNFINISHED = "postdo: unfinished run; "
# The statement that sets that comment; quoted by the server, because such a statement takes no
# parameters. An empty comment is none. PostgreSQL 14 to 18.
COMMENT = "SELECT format('COMMENT ON TABLE django_migrations IS %%L', %s::text)"

Name = tuple[str, str]


@dataclass(frozen=True)
class History:
    """What is on disk and what is recorded, each as (app label, migration name).

    - ``unsure``: why names alone cannot tell what is pending; empty if they can.
    - ``unfinished``: whether an earlier run ended before its work was complete.
    - ``comment``: the comment on the table ``django_migrations``, without our mark of such a run.
    """

    on_disk: frozenset[Name]
    recorded: frozenset[Name]
    unsure: str
    unfinished: bool
    comment: str

    @property
    def unrecorded(self) -> tuple[Name, ...]:
        """Migrations on disk that the database has not recorded, sorted."""
        return tuple(sorted(self.on_disk - self.recorded))

    @property
    def settled(self) -> bool:
        """Whether nothing is pending, for certain, so that Django's loader need not be asked."""
        return not (self.unrecorded or self.unsure or self.unfinished)

    def unknown_in(self, project: Project) -> tuple[Name, ...]:
        """Recorded names of the project's apps that are not on disk.

        A squash leaves such names behind, and so does a rollback to an older release.
        """
        labels = {app.label for app in project.apps}
        return tuple(sorted(n for n in self.recorded - self.on_disk if n[0] in labels))


def read(session: BaseDatabaseWrapper, project: Project) -> History:
    """Compare the migrations on disk with those that the database has recorded.

    This reads file names only and imports no migration, so that a start with nothing to do is fast.
    """
    on_disk, unsure = names_on_disk(project)
    ((exists, comment),) = rows(session, RECORDER)
    recorded = rows(session, RECORDED) if exists else []
    comment = comment or ""
    return History(
        on_disk=on_disk,
        recorded=frozenset((app, name) for app, name in recorded),
        unsure=unsure,
        unfinished=comment.startswith(UNFINISHED),
        comment=comment.removeprefix(UNFINISHED),
    )


def names_on_disk(project: Project) -> tuple[frozenset[Name], str]:
    """The names of the migrations that Django's loader would load.

    The second value says why they are not certain; it is empty if they are.
    """
    names: set[Name] = set()
    for app in project.apps:
        try:
            package = migrations_package(app)
        except Exception as error:  # noqa: BLE001  any reason sends us to Django's loader
            return frozenset(), f"{app.migrations} cannot be imported alone ({error})"
        if package is not None:
            names.update((app.label, name) for name in migration_names(package))
    return frozenset(names), ""


def migrations_package(app: App) -> ModuleType | None:
    """The package that holds an app's migrations, ``None`` if there is none.

    The same answers as ``MigrationLoader.load_disk`` (Django 4.2 to 6.0): settings can switch it
    off, a module is no package, and a folder without ``__init__.py`` does not count.
    """
    if app.migrations is None:
        return None
    try:
        module = import_module(app.migrations)
    except ModuleNotFoundError as error:
        if not app.redirected and "migrations" in (error.name or "").split("."):
            return None
        raise
    if not hasattr(module, "__path__"):
        return None
    if getattr(module, "__file__", None) is None and not isinstance(module.__path__, list):
        return None
    return module


def migration_names(package: ModuleType) -> frozenset[str]:
    """The names of the migrations in a package, by the rule of ``MigrationLoader.load_disk``."""
    return frozenset(
        name
        for _, name, is_package in pkgutil.iter_modules(package.__path__)
        if not is_package and name[0] not in "_~"
    )


def migration_files(package: ModuleType) -> dict[str, Path]:
    """The path of each module's source file in a package, by module name."""
    return {
        name: Path(folder, f"{name}.py")
        for finder, name, is_package in pkgutil.iter_modules(package.__path__)
        if not is_package and (folder := getattr(finder, "path", None)) is not None
    }


def dotted(names: Collection[Name], most: int = 0) -> str:
    """Migrations for a message: ``shop.0002_price, shop.0003_stock``. Beyond ``most``: how many."""
    return listed([f"{app}.{name}" for app, name in names], most or len(names))
