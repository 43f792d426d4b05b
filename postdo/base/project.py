"""The Django project: its settings, its apps, and where their code is.

Loading comes in two steps. ``load`` reads the settings and the apps' configurations, as the first
phase of ``django.setup()`` does, and imports no model: enough to know which migrations exist.
``set_up`` is the whole of ``django.setup()``, for whatever needs models.
"""

from __future__ import annotations

import os
import pkgutil
import sys
from dataclasses import dataclass
from pathlib import Path, PurePath

import django
from django.apps import apps as registry
from django.apps.config import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

import postdo
from postdo.base.errors import Misconfigured, PostdoError, one_line

INSTALLED_FOLDERS = frozenset({"site-packages", "dist-packages"})
OURSELVES = str(Path(postdo.__file__).parent)  # compared with the names in a traceback
STANDARD_LIBRARY = PurePath(os.__file__).parent


@dataclass(frozen=True)
class App:
    """One of the installed apps. ``path``: its folder.

    ``migrations``: the dotted name of the package that holds its migrations, ``None`` where the
    settings switch them off. ``redirected``: whether ``MIGRATION_MODULES`` names that package.
    """

    label: str
    name: str
    path: Path
    migrations: str | None
    redirected: bool


@dataclass(frozen=True)
class Project:
    """A Django project whose settings are loaded. ``root``: the folder that its code is in."""

    settings_module: str
    root: Path
    apps: tuple[App, ...]

    def overrides(self, command: str) -> bool:
        """Whether an installed app brings its own management command of this name."""
        return any(_has_command(app.path, command) for app in self.apps)

    def has_command(self, command: str) -> bool:
        """Whether ``manage.py`` knows this command: an installed app's, or Django's own."""
        return self.overrides(command) or _has_command(
            Path(django.__file__).parent / "core", command
        )


def _has_command(package: Path, command: str) -> bool:
    folder = package / "management" / "commands"
    return any(name == command for _, name, _ in pkgutil.iter_modules([str(folder)]))


def load(settings_module: str) -> Project:
    """Import the settings and the apps' configurations, but no models.

    Raises ``Misconfigured`` with file and line of the error in the project's own code.
    """
    try:
        installed = list(settings.INSTALLED_APPS)
    except (Exception, SystemExit) as error:
        raise _unloadable(f"the settings module {settings_module}", error) from error
    try:
        apps = tuple(_app(AppConfig.create(entry)) for entry in installed)
    except (Exception, SystemExit) as error:
        raise _unloadable("INSTALLED_APPS", error) from error
    return Project(settings_module=settings_module, root=_root(settings_module), apps=apps)


def set_up() -> None:
    """Run ``django.setup()``: logging, apps and models. Returns at once if that was done before.

    Raises ``Misconfigured`` with file and line of the error in the project's own code.
    """
    if registry.ready:
        return
    try:
        django.setup()
    except (Exception, SystemExit) as error:
        raise _unloadable("the project", error) from error


def is_installed(path: PurePath) -> bool:
    """Whether a file belongs to an installed package, and not to the project's own code."""
    parts = path.parts
    return not INSTALLED_FOLDERS.isdisjoint(parts) or path.is_relative_to(STANDARD_LIBRARY)


def where(error: BaseException) -> str:
    """``file:line`` of the innermost frame of ``error`` in the project's own code; may be empty."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    place = ""
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not (name.startswith("<") or is_installed(PurePath(name)) or name.startswith(OURSELVES)):
            place = f"{name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _app(config: AppConfig) -> App:
    redirected = config.label in settings.MIGRATION_MODULES
    default = f"{config.name}.migrations"
    return App(
        label=config.label,
        name=config.name,
        path=Path(config.path),
        migrations=settings.MIGRATION_MODULES[config.label] if redirected else default,
        redirected=redirected,
    )


def _root(settings_module: str) -> Path:
    top = sys.modules[settings_module.partition(".")[0]]
    places = list(getattr(top, "__path__", [])) or [top.__file__ or "."]
    return Path(places[0]).absolute().parent


def _unloadable(what: str, error: BaseException) -> PostdoError:
    if isinstance(error, ValueError) and "Port could not be cast" in str(error):
        # urllib quotes what it takes for the port, and that is a piece of the password.
        return Misconfigured(
            "DATABASE_URL cannot be read: its password contains a character that a URL cannot hold",
            "percent-encode it in DATABASE_URL: / as %2F, @ as %40, # as %23, ? as %3F",
        )
    place = where(error)
    if isinstance(error, ImproperlyConfigured):  # the settings themselves say what they miss
        settings_at = f"the settings at {place}" if place else "the settings"
        return Misconfigured(
            f"{what} cannot be loaded: {one_line(error)}",
            f"fix that value in the environment (.env), or {settings_at}",
        )
    return Misconfigured(
        f"{what} cannot be loaded: {type(error).__name__}: {one_line(error)}",
        f"fix it at {place}"
        if place
        else (
            "fix the settings, or their name (DJANGO_SETTINGS_MODULE; the kit sets it from "
            "PROD_SETTINGS and DEV_SETTINGS in .env)"
        ),
    )


def load_command(name: str) -> object:
    """The management command of this name; an app's own takes precedence over Django's."""
    from django.core.management import get_commands, load_command_class  # noqa: PLC0415

    return load_command_class(get_commands()[name], name)
