"""The package alone: installed by pip, without the rest of the kit."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from projects import REPOSITORY, make_shop

PARTS = ("pyproject.toml", "README.md", "LICENSE", "postdo")
ADD_NOTE = 'migrations.AddField("Item", "note", models.TextField(null=True))'


def installed(folder: Path) -> Path:
    """Where pip has put the package."""
    sources = folder / "sources"
    sources.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (REPOSITORY / part).is_dir() else shutil.copy
        copy(REPOSITORY / part, sources / part)
    target = folder / "installed"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target")
    subprocess.run([*pip, target, sources], check=True, capture_output=True, timeout=120)
    return target


def test_installed_by_pip_it_plans_rehearses_and_migrates_any_project(
    tmp_path: Path, database: str
) -> None:
    place = installed(tmp_path)
    project = make_shop(tmp_path / "site", database)
    alone = replace(project, environment={"PYTHONPATH": str(place), "MAKEMIGRATIONS": "off"})
    first = alone.run("migrate")
    assert first.code == 0, first.err
    alone.migration("shop", "0002_note", ADD_NOTE, after="0001_initial")
    plan = alone.run("plan")
    assert plan.out.splitlines()[-1], plan.err
    assert "go: 1 migration, the site goes on" in plan.out
    assert alone.run("migrate").code == 0
    script = (place / "bin" / "postdo").read_text()
    assert "postdo.__main__" in script


# Each may import what stands before it; what lies beside the packages is for all of them, and uses
# them on behalf of the command line.
LAYERS = (
    "schema",
    "running",
    "copying",
    "memory",
    "rehearsing",
    "comparing",
    "planning",
    "report",
    "applying",
)


def test_packages_import_each_other_in_one_direction() -> None:
    folder = REPOSITORY / "postdo"
    assert {path.parent.name for path in folder.glob("*/__init__.py")} == set(LAYERS)
    for number, layer in enumerate(LAYERS):
        texts = "".join(path.read_text() for path in (folder / layer).glob("*.py"))
        imported = set(re.findall(r"from postdo\.(\w+)", texts)) & set(LAYERS)
        assert imported <= {*LAYERS[: number + 1]}, layer
