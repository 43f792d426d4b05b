"""Projects whose models and tables are looked at, in processes of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import forkserver
from projects import Project, make

from postdo.journal.model_usage import ModelUse
from postdo.journal.serialization import from_json
from postdo.schema import catalogue
from postdo.schema.catalogue import Catalogue

LOOK = """
import sys
import django
django.setup()
from django.apps import apps
from postdo.schema import catalogue
from postdo.base import database
from postdo.compatibility.read_models import model_use
from postdo.journal.serialization import to_json
with database.closing(database.connect("postdo test", 5)) as session:
    if sys.argv[1] == "inside":
        database.rows(session, "BEGIN")
        database.rows(session, "CREATE TABLE kept (id int)")
    print(to_json(model_use(apps, session, "v1")))
    print(catalogue.read(session).to_json())
"""


def django(project: Project, *arguments: str) -> str:
    """Run `python -m django ARGUMENTS`, or a script, in the project; what it printed."""
    done = forkserver.run(
        [sys.executable, *arguments],
        cwd=project.root,
        env=project.variables(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def migrated(root: Path, url: str, models: str, *more: str) -> Project:
    """A project with the app `shop` and these further ones, migrated to these models."""
    project = make(root, url, apps=("shop", *more))
    project.write("shop/models.py", models)
    django(project, "-m", "django", "makemigrations", "shop")
    django(project, "-m", "django", "migrate", "--verbosity=0")
    project.write("look.py", LOOK)
    return project


def look(project: Project, how: str = "plain") -> tuple[ModelUse, Catalogue]:
    """What its models use, and what its database has."""
    use, schema = django(project, "look.py", how).splitlines()
    return from_json(ModelUse, use), catalogue.from_json(schema)
