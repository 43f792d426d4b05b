"""The static files of an image are those of an earlier build only where they would be the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

IMAGE = Path(__file__).resolve().parents[2] / "image"
MANAGE = (
    "from django.core.management import execute_from_command_line as e; import sys; e(sys.argv)\n"
)
SETTINGS = """
SECRET_KEY = "x"
INSTALLED_APPS = ["django.contrib.staticfiles"]
STATIC_URL = "/static/"
STATIC_ROOT = "collected"
STATICFILES_DIRS = ["assets"]
STORAGES = {"staticfiles": {
    "BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}}
"""
STORAGE = """
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
class Storage(ManifestStaticFilesStorage): pass
"""
# Of the build, collectstatic alone: its checks and the bytecode are other tests'.
PYTHON = f"""#!/bin/sh
case $* in "-m compileall "* | "manage.py check"* | "-m postdo check "*) exit ;; esac
exec {sys.executable} "$@"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The smallest project that has a static file."""
    folder = tmp_path / "project"
    (folder / "assets").mkdir(parents=True)
    (folder / "manage.py").write_text(MANAGE)
    (folder / "settings.py").write_text(SETTINGS)
    (folder / "assets" / "site.css").write_text("a { color: red }")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(PYTHON)
    (tmp_path / "bin" / "python").chmod(0o755)
    (tmp_path / "cache").mkdir()
    return folder


def run(project: Path, *command: str) -> str:
    """Run a command of a build in the project's folder; returns what it says."""
    path = f"{project.parent / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=project,
        env={**os.environ, "PATH": path, "DJANGO_SETTINGS_MODULE": "settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def key(project: Path) -> str:
    """What the static files of a project are known by; empty if they are collected anew."""
    return run(project, "python", str(IMAGE / "static_files.py")).partition("\n")[0]


def build(project: Path) -> list[str]:
    """Collect as the build does, into a folder that is new; the files that came of it."""
    collected = project / "collected"
    subprocess.run(["rm", "-rf", collected], check=True)
    run(project, "sh", str(IMAGE / "collect.sh"), "stamp", str(project.parent / "cache"))
    return sorted(path.name for path in collected.iterdir())


def test_unchanged_static_files_are_taken_from_an_earlier_build(project: Path) -> None:
    first = build(project)
    assert len(first) == len({"site.css", "site.DIGEST.css", "staticfiles.json"})
    (kept,) = (project.parent / "cache").iterdir()
    (kept / "from-the-cache").touch()
    (project / "views.py").write_text("# no static file\n")

    assert build(project) == sorted([*first, "from-the-cache"])

    (project / "assets" / "site.css").write_text("a { color: blue }")
    assert "from-the-cache" not in build(project)
    assert build(project) != first


def test_whatever_the_result_is_made_of_changes_the_key(project: Path) -> None:
    settings = project / "settings.py"
    seen = [key(project)]
    (project / "assets" / "more.css").write_text("b {}")
    seen.append(key(project))
    (project / "assets" / "more.css").rename(project / "assets" / "other.css")
    seen.append(key(project))
    settings.write_text(SETTINGS.replace("/static/", "/files/"))
    seen.append(key(project))
    assert all(seen)
    assert len(set(seen)) == len(seen)
    assert key(project) == seen[-1], "and nothing else does"


def test_where_it_cannot_be_known_all_is_collected_anew(project: Path) -> None:
    (project / "own.py").write_text(STORAGE)
    kind = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
    (project / "settings.py").write_text(SETTINGS.replace(kind, "own.Storage"))
    assert key(project) == ""

    (project / "settings.py").write_text(SETTINGS)
    (project / "collected").mkdir()
    (project / "collected" / "of-the-project.txt").touch()
    assert key(project) == ""
