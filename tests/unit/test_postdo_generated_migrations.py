"""Development writes and applies migrations by itself, and deletes no row that way."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import Outcome, Project, made_once, make

LOCAL = {"POSTDO_MODE": "local", "DEBUG": "on"}
DEVELOPMENT = {"POSTDO_MODE": "development", "DEBUG": "on"}
URLS = "from django.urls import path\nfrom core import views\nurlpatterns = []\n"
TOUR = """
from django.db import models


class Tour(models.Model):
    name = models.CharField(max_length=50)

    class Meta:
        app_label = "core"
"""
CHOICES = """
from django.db import models


class Item(models.Model):
    name = models.CharField(max_length=50)
    price = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    seen = models.DateTimeField(null=True)
    tags = models.ManyToManyField("Tag")


class Tag(models.Model):
    label = models.CharField(max_length=50)
"""
FILL = """
INSERT INTO shop_item (id, name, price, seen) VALUES (1, 'kite', 1.25, '2024-01-01 10:00+00');
INSERT INTO shop_tag (id, label) VALUES (1, 'red');
INSERT INTO shop_item_tags (item_id, tag_id) VALUES (1, 1)
"""


def prepare(project: Project, environment: dict[str, str] | None = None) -> Outcome:
    return project.run("prepare", environment=environment or LOCAL)


def manage(project: Project, *words: str) -> Outcome:
    return project.execute([*project.python, "-m", "django", *words])


def migrate(project: Project) -> None:
    assert manage(project, "migrate").code == 0


def written(project: Project, app: str = "shop") -> list[str]:
    return sorted(file.name for file in project.root.glob(f"{app}/migrations/0*.py"))


@pytest.fixture
def tours(tmp_path: Path, database: str) -> Project:
    """A model that only a view imports, with its migration applied and one row."""
    made = make(tmp_path, database, apps=("core",), settings='ROOT_URLCONF = "config.urls"')
    made.write("config/urls.py", URLS)
    made.write("core/models.py", "")
    made.write("core/views.py", "from core.tours.models import Tour\n")
    made.write("core/tours/__init__.py", "")
    made.write("core/tours/models.py", TOUR)
    assert manage(made, "makemigrations", "core").code == 0
    made_once(made, "unasked_tours", lambda: migrate(made))
    made.sql("INSERT INTO core_tour (name) VALUES ('south')")
    return made


@pytest.mark.parametrize("environment", [LOCAL, DEVELOPMENT])
def test_a_model_that_only_a_view_imports_keeps_its_table_in_development(
    tours: Project, environment: dict[str, str]
) -> None:
    outcome = prepare(tours, environment)

    assert outcome.code == 0, outcome.err
    assert "models match their migrations" in outcome.out
    assert written(tours, "core") == ["0001_initial.py"]
    assert tours.sql("SELECT name FROM core_tour") == [("south",)]


def test_a_model_that_only_a_view_imports_is_no_missing_migration_in_production(
    tours: Project,
) -> None:
    assert tours.run("check").code == 0
    plan = tours.run("plan")
    assert plan.code == 0, plan.out
    outcome = tours.run("prepare")
    assert outcome.code == 0, outcome.err


def test_a_new_model_that_only_a_view_imports_gets_its_migration(tours: Project) -> None:
    tours.write("core/tours/guides.py", TOUR.replace("class Tour", "class Guide"))
    tours.write("core/views.py", "from core.tours.models import Tour\nimport core.tours.guides\n")

    outcome = prepare(tours)

    assert outcome.code == 0, outcome.err
    assert written(tours, "core") == ["0001_initial.py", "0002_guide.py"]
    assert tours.sql("SELECT count(*) FROM core_guide") == [(0,)]


def test_content_types_of_such_a_model_are_made_by_a_release_as_by_django(tours: Project) -> None:
    tours.write("core/tours/guides.py", TOUR.replace("class Tour", "class Guide"))
    tours.write("core/views.py", "from core.tours.models import Tour\nimport core.tours.guides\n")
    assert manage(tours, "makemigrations", "core").code == 0

    assert tours.run("prepare").code == 0

    found = "SELECT model FROM django_content_type WHERE app_label = 'core' ORDER BY model"
    assert tours.sql(found) == [("guide",), ("tour",)]


def test_urls_that_cannot_be_imported_are_named_and_nothing_is_written(tours: Project) -> None:
    file = tours.write("core/views.py", "import nothing_of_this_name\n")

    outcome = prepare(tours)

    assert outcome.code == 3
    assert "the system checks cannot run: ModuleNotFoundError" in outcome.err
    assert f"fix it at {file}:1" in outcome.err
    assert written(tours, "core") == ["0001_initial.py"]
    assert tours.sql("SELECT name FROM core_tour") == [("south",)]


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    """Migrated, and without rows."""
    made = make(tmp_path, database, apps=("shop",))
    made.write("shop/models.py", CHOICES)
    assert manage(made, "makemigrations", "shop").code == 0
    made_once(made, "unasked_shop", lambda: migrate(made))
    return made


PRICE_GONE = ("    price = models.DecimalField(max_digits=8, decimal_places=2, null=True)\n", "")
REMOVALS = [
    pytest.param(PRICE_GONE, "shop: Remove field price from item", id="a column"),
    pytest.param(
        ('    tags = models.ManyToManyField("Tag")\n', ""),
        "shop: Remove field tags from item",
        id="a many-to-many",
    ),
    pytest.param(
        ("decimal_places=2", "decimal_places=0"), "shop: Alter field price on item", id="decimals"
    ),
    pytest.param(
        ("seen = models.DateTimeField", "seen = models.DateField"),
        "shop: Alter field seen on item",
        id="the time of a day",
    ),
    pytest.param(
        (CHOICES[CHOICES.index("class Item") : CHOICES.index("class Tag")], ""),
        "shop: Delete model Item",
        id="a table",
    ),
]


@pytest.mark.parametrize(("change", "names"), REMOVALS)
def test_nothing_is_removed_unasked(shop: Project, change: tuple[str, str], names: str) -> None:
    """Whatever this database holds: a colleague's may hold more."""
    shop.sql(FILL)
    shop.write("shop/models.py", CHOICES.replace(*change))

    outcome = prepare(shop)

    assert outcome.code == 3, outcome.out
    assert "a new migration would remove data, so postdo does not write it" in outcome.err
    assert names in outcome.err
    assert "sh run.sh -2 manage makemigrations" in outcome.err
    assert written(shop) == ["0001_initial.py"]
    assert shop.sql("SELECT name, price::text FROM shop_item") == [("kite", "1.25")]
    assert shop.sql("SELECT count(*) FROM shop_item_tags") == [(1,)]


def test_what_removes_nothing_is_written(shop: Project) -> None:
    shop.write("shop/models.py", CHOICES.replace("max_length=50", "max_length=80"))

    outcome = prepare(shop)

    assert outcome.code == 0, outcome.err
    assert len(written(shop)) == 2


ORDERED = """
from django.db import models


class Quiz(models.Model):
    name = models.CharField(max_length=50)


class Question(models.Model):
    quiz = models.ForeignKey(Quiz, on_delete=models.CASCADE)

    class Meta:
        order_with_respect_to = "quiz"
"""


def test_an_order_that_a_person_made_is_not_removed_unasked(tmp_path: Path, database: str) -> None:
    project = make(tmp_path, database, apps=("shop",))
    project.write("shop/models.py", ORDERED)
    assert manage(project, "makemigrations", "shop").code == 0
    assert manage(project, "migrate").code == 0
    project.sql("INSERT INTO shop_quiz VALUES (1, 'a')")
    project.sql("INSERT INTO shop_question (quiz_id, _order) VALUES (1, 1), (1, 0)")
    project.write("shop/models.py", ORDERED[: ORDERED.index("\n    class Meta")])

    outcome = prepare(project)

    assert outcome.code == 3, outcome.out
    assert "shop: Set order_with_respect_to on question to None" in outcome.err
    assert project.sql("SELECT _order FROM shop_question ORDER BY id") == [(1,), (0,)]


def test_a_person_says_yes_by_writing_the_migration(shop: Project) -> None:
    shop.sql(FILL)
    shop.write("shop/models.py", CHOICES.replace(*PRICE_GONE))
    assert prepare(shop).code == 3

    assert manage(shop, "makemigrations", "shop").code == 0
    outcome = prepare(shop)

    assert outcome.code == 0, outcome.err
    assert shop.sql("SELECT * FROM shop_item WHERE false") == []
    columns = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'price'"
    assert shop.sql(columns) == [(0,)]
