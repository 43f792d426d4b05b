"""Which installed package an app, or a migration, came with."""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.metadata import packages_distributions as distributions_by_module
from pathlib import Path

from postdo.base.project import App, is_installed
from postdo.django_migrations.history import migrations_package


def package_of(app: App) -> str:
    """The distribution that the app's migrations came with, such as ``django-oscar 4.1``.

    Empty for the project's own code, also where it replaces a package's migrations
    (``MIGRATION_MODULES``).
    """
    folder = _folder(app)
    if not is_installed(folder):
        return ""
    module = (app.migrations or app.name).partition(".")[0]
    candidates = sorted(set(distributions_by_module().get(module, ())))
    found = [one for one in map(_distribution, candidates) if one is not None]
    if len(found) > 1:  # a namespace that several packages share
        found = [one for one in found if _has(one, folder)] or found
    return f"{found[0].metadata['Name']} {found[0].version}" if found else module


def _folder(app: App) -> Path:
    try:
        package = migrations_package(app)
    except Exception:  # noqa: BLE001  the project's own code; Django's loader tells it better
        package = None
    return Path(next(iter(package.__path__))) if package is not None else app.path


def _distribution(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _has(one: Distribution, folder: Path) -> bool:
    return any(Path(str(one.locate_file(file))).parent == folder for file in one.files or ())
