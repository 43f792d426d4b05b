"""What a successful check of the models is remembered by, so that a start need not repeat it.

The check compares the models with the state that the migrations build up, which means importing
all of them. Its answer only depends on code and a few settings; in an image these never change, so
the build writes a stamp, and a start with the same stamp skips the check.

The stamp holds what the answer depends on: versions of Python, Django and ``postdo``, the names
and versions of all installed packages, the settings that decide on models and migrations, and a
digest over the *contents* of every Python file of the project. Not over times of modification:
they survive neither ``docker push`` nor ``git checkout``. What it cannot see: code in a folder of
its own on ``PYTHONPATH`` that is neither an app nor below the settings, and a model that looks
different for another environment variable or data file (no migration fits both anyway).
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django
from django.conf import settings

from postdo import __version__
from postdo.base.project import Project, is_installed
from postdo.django_migrations.history import migrations_package

FORMAT = 2  # since the check loads the URLconf
SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules"})
COMPILED_OR_LOG = (".pyc", ".log")
PACKAGE_ENDINGS = (".dist-info", ".egg-info", ".egg-link")

Fingerprint = dict[str, Any]
Wanted = Callable[["os.DirEntry[str]"], bool]


def fingerprint(project: Project) -> Fingerprint:
    """Everything that the answer of the models' check depends on, as JSON values.

    Versions of postdo, Python, Django and the packages; digests of settings and sources.
    """
    return {
        "format": FORMAT,
        "postdo": __version__,
        "python": sys.version,
        "django": django.get_version(),
        "packages": _digest(_packages()),
        "settings_module": project.settings_module,
        "settings": _digest(_settings()),
        "sources": _digest(_sources(project)),
    }


def other_files(project: Project, produced: Path | None) -> str:
    """A digest of the names, sizes and times of the project's files that are not Python.

    A migration may read rows or SQL from them. ``produced``: a folder of our own to leave out.
    """
    without = {os.path.abspath(produced)} if produced else set()  # noqa: PTH100  as below
    return _digest(
        f"{entry.path} {found.st_size} {found.st_mtime_ns}".encode(errors="surrogateescape")
        for entry in _files(project, _is_other, without)
        for found in [entry.stat()]
    )


def differences(path: Path, current: Fingerprint) -> tuple[str, ...] | None:
    """The keys in which a stamp differs from ``current``; empty if nothing has changed.

    ``None`` if there is no stamp, or none that can be read.
    """
    try:
        stamp = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(stamp, dict):
        return None
    return tuple(sorted(k for k in stamp.keys() | current.keys() if stamp.get(k) != current.get(k)))


def write(path: Path, current: Fingerprint) -> None:
    """Write a stamp; the file is replaced at once, never half-written. Raises ``OSError``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(current, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)


def _digest(pieces: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(b"%d:" % len(piece))
        digest.update(piece)
    return digest.hexdigest()


def _packages() -> Iterator[bytes]:
    """Names and versions of the installed packages: pip puts both in the name of a folder."""
    for entry in sys.path:
        if is_installed(Path(entry)) and os.path.isdir(entry):  # noqa: PTH112  as sys.path has it
            for name in sorted(os.listdir(entry)):  # noqa: PTH208  names are all that is needed
                if name.endswith(PACKAGE_ENDINGS):
                    yield name.encode()


def _settings() -> Iterator[bytes]:
    """The settings that decide which models and migrations there are.

    ``*_MODEL`` are the swappable ones, such as ``AUTH_USER_MODEL``; views may import models.
    """
    for name in sorted(dir(settings)):
        if name.endswith("_MODEL"):
            yield f"{name}={getattr(settings, name)!r}".encode()
    yield repr(list(settings.INSTALLED_APPS)).encode()
    yield repr(sorted(settings.MIGRATION_MODULES.items())).encode()
    yield repr(settings.DEFAULT_AUTO_FIELD).encode()
    yield repr(getattr(settings, "ROOT_URLCONF", None)).encode()
    yield repr(sorted((k, v.get("ENGINE")) for k, v in settings.DATABASES.items())).encode()


def _sources(project: Project) -> Iterator[bytes]:
    """Names and contents of all Python files of the project, each once, in a fixed order.

    From the folder that the settings come from, every app that is not an installed package, and
    every package of migrations (which may be anywhere). What the site produces is no source.
    """
    for entry in _files(project, _is_source, set()):
        yield entry.path.encode(errors="surrogateescape")
        with open(entry.path, "rb") as file:  # noqa: PTH123  a Path each costs as much as reading
            yield file.read()


def _is_source(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(".py")


def _is_other(entry: os.DirEntry[str]) -> bool:
    return not entry.name.endswith((".py", *COMPILED_OR_LOG))


def _files(project: Project, wanted: Wanted, produced: set[str]) -> Iterator[os.DirEntry[str]]:
    produced = produced | {
        os.path.abspath(getattr(settings, name))  # noqa: PTH100  compared with scandir's strings
        for name in ("MEDIA_ROOT", "STATIC_ROOT")
        if getattr(settings, name, "")
    }
    seen: set[str] = set()
    for place in sorted(set(_places(project))):
        yield from _below(place, wanted, produced, seen)


def _places(project: Project) -> Iterator[str]:
    if not is_installed(project.root):
        yield str(project.root)
    for app in project.apps:
        if not is_installed(app.path):
            yield str(app.path)
        package = migrations_package(app)
        for path in getattr(package, "__path__", ()):
            if not is_installed(Path(path)):
                yield path


def _below(
    place: str, wanted: Wanted, produced: set[str], seen: set[str]
) -> Iterator[os.DirEntry[str]]:
    real = os.path.realpath(place)
    if real in seen:  # reached on two ways, or a link that leads in a circle
        return
    seen.add(real)
    with os.scandir(place) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        if entry.is_file():
            if wanted(entry):
                yield entry
        elif (
            entry.name[0] != "."
            and entry.name not in SKIPPED_FOLDERS
            and not entry.name.endswith(".py")
            and entry.is_dir()
            and entry.path not in produced
            and not os.path.exists(f"{entry.path}/pyvenv.cfg")  # noqa: PTH110  as above
        ):
            yield from _below(entry.path, wanted, produced, seen)
