"""The package alone: installed by pip, without the rest of the kit."""

from __future__ import annotations

import ast
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
    second = alone.run("migrate")
    assert second.code == 0, second.err
    assert "rehearsing the pending migrations" in second.out
    assert "go: 1 migration, no downtime" in second.out
    script = (place / "bin" / "postdo").read_text()
    assert "postdo.__main__" in script


# Each may import what stands before it. Beside them lies only the command line.
LAYERS = (
    "base",
    "django_migrations",
    "schema",
    "executor",
    "copy",
    "journal",
    "rehearsal",
    "drift",
    "compatibility",
    "plan",
    "checks",
    "report",
    "apply",
    "swap",
    "release",
    "commands",
)


def test_packages_import_each_other_in_one_direction() -> None:
    folder = REPOSITORY / "postdo"
    assert {path.parent.name for path in folder.glob("*/__init__.py")} == set(LAYERS)
    assert {path.stem for path in folder.glob("*.py")} == {"__init__", "__main__"}
    for number, layer in enumerate(LAYERS):
        texts = "".join(path.read_text() for path in (folder / layer).glob("*.py"))
        imported = set(re.findall(r"from postdo\.(\w+)", texts)) & set(LAYERS)
        assert imported <= {*LAYERS[: number + 1]}, layer


def test_no_module_imports_itself_over_others() -> None:
    modules = {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts): path
        for path in (REPOSITORY / "postdo").rglob("*.py")
    }
    arrows = {name: imports_of(path, set(modules)) for name, path in modules.items()}

    assert circle_in(arrows) == ()


def imports_of(path: Path, modules: set[str]) -> set[str]:
    """Which of ``modules`` a file imports, at its top, in a function or for its types alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & modules


def circle_in(arrows: dict[str, set[str]]) -> tuple[str, ...]:
    """What of ``arrows`` is left when all that leads nowhere is taken away again and again."""
    left = dict(arrows)
    while ends := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in ends:
            del left[name]
    return tuple(sorted(left))
