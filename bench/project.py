"""The Django project that both stacks serve: the starter, two pages, an app with N migrations."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from bench.process import BenchError

BENCH = Path(__file__).resolve().parent
CLONE = BENCH.parent

# What a fresh clone does not have: the state of this host, and what tools leave behind.
NOT_CLONED = shutil.ignore_patterns(
    ".git",
    ".ci",
    ".env",
    ".postdo",
    "backups",
    "docker-compose.override.yml",
    "staticfiles",
    "media",
    "__pycache__",
    ".venv",
    ".hypothesis",
    "node_modules",
    ".*_cache",
)

# The history of one model: it is created, grows field by field, and some are altered. A foreign
# key, because what relates models is what makes Django's picture of the past dear.
STEPS = (
    ("AddField", "title", 'models.CharField(default="", max_length=50)'),
    ("AddField", "count", "models.IntegerField(default=0)"),
    (
        "AddField",
        "parent",
        'models.ForeignKey("bench_history.Record0", models.CASCADE, null=True, related_name="+")',
    ),
    ("AddField", "active", "models.BooleanField(default=True)"),
    ("AlterField", "title", 'models.CharField(db_index=True, default="", max_length=200)'),
    ("AddField", "price", "models.DecimalField(decimal_places=2, default=0, max_digits=10)"),
    ("AddField", "day", "models.DateField(null=True)"),
    ("AddField", "note", 'models.TextField(default="")'),
    ("AlterField", "count", "models.BigIntegerField(default=0)"),
)
PER_MODEL = 1 + len(STEPS)

APP = "bench_history"
REVISION = re.compile(r'^REVISION = "(.*)"$', re.MULTILINE)


def clone_kit(target: Path, migrations: int) -> None:
    """Make a clone of the kit in the new folder `target`, with the measured project in its web/."""
    shutil.copytree(CLONE, target, ignore=NOT_CLONED)
    add_pages(target / "web", migrations)


def make_tutorial(target: Path, migrations: int) -> None:
    """Make the tutorial's folder `target`: the measured project, and bench/tutorial/ around it."""
    shutil.copytree(CLONE / "web", target, ignore=NOT_CLONED)
    add_pages(target, migrations)
    shutil.copytree(BENCH / "tutorial" / "site", target, ignore=NOT_CLONED, dirs_exist_ok=True)
    for name in ("Dockerfile", "docker-compose.yml"):
        shutil.copy(BENCH / "tutorial" / name, target / name)
    # The kit's own pins, so that both stacks run the same versions.
    shutil.copy(target / "requirements" / "prod.txt", target / "requirements.txt")


def add_pages(web: Path, migrations: int) -> None:
    """Add the measured pages, their settings, and the app with the migrations to a project."""
    shutil.copytree(BENCH / "site", web, ignore=NOT_CLONED, dirs_exist_ok=True)
    write_history(web / APP, migrations)


def write_history(app: Path, count: int) -> None:
    """Write an app with `count` migrations, whose models are what those migrations lead to."""
    app.mkdir()
    (app / "__init__.py").touch()
    if count:
        (app / "migrations").mkdir()
        (app / "migrations" / "__init__.py").touch()
    models: dict[str, dict[str, str]] = {}
    before = ""
    for number in range(count):
        model = f"Record{number // PER_MODEL}"
        name = f"{number + 1:04d}_{model.lower()}_{number % PER_MODEL}"
        if number % PER_MODEL == 0:
            models[model] = {}
            operation = (
                f'migrations.CreateModel(name="{model}", '
                'fields=[("id", models.BigAutoField(primary_key=True, serialize=False))])'
            )
        else:
            kind, field, definition = STEPS[number % PER_MODEL - 1]
            models[model][field] = definition
            operation = (
                f'migrations.{kind}(model_name="{model.lower()}", name="{field}", '
                f"field={definition})"
            )
        (app / "migrations" / f"{name}.py").write_text(
            migration(before, operation), encoding="utf-8"
        )
        before = name
    (app / "models.py").write_text(module_of(models), encoding="utf-8")


def migration(before: str, operation: str) -> str:
    """Return the source of one migration, which comes after the one named `before`."""
    dependencies = f'[("{APP}", "{before}")]' if before else "[]"
    return (
        "from django.db import migrations, models\n\n\n"
        "class Migration(migrations.Migration):\n"
        f"    dependencies = {dependencies}\n"
        f"    operations = [{operation}]\n"
    )


def module_of(models: dict[str, dict[str, str]]) -> str:
    """Return the source of the module with these models: name to fields, field to definition."""
    source = "from django.db import models\n"
    for name, fields in models.items():
        source += (
            f"\n\nclass {name}(models.Model):\n    id = models.BigAutoField(primary_key=True)\n"
        )
        source += "".join(f"    {field} = {definition}\n" for field, definition in fields.items())
    return source


def change_one_line(web: Path, revision: str) -> None:
    """Change one line of the project's source: the revision, which each measured page tells."""
    path = web / "bench_pages" / "views.py"
    source, changed = REVISION.subn(f'REVISION = "{revision}"', path.read_text(encoding="utf-8"))
    if changed != 1:
        raise BenchError(
            f"{path} has no line REVISION", "bring it back from the repository: git checkout bench"
        )
    path.write_text(source, encoding="utf-8")
