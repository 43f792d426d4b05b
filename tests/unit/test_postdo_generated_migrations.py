"""Development writes and applies migrations by itself, and deletes no row that way."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import ITEM, Outcome, Project, made_once, make, make_shop

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
    assert "the system checks cannot be run: ModuleNotFoundError" in outcome.err
    assert f"correct it at {file}:1" in outcome.err
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
    pytest.param(
        PRICE_GONE,
        "delete column shop_item.price (1 value)",
        "price",
        id="a column",
    ),
    pytest.param(
        ('    tags = models.ManyToManyField("Tag")\n', ""),
        "delete table shop_item_tags (1 row)",
        "tags",
        id="a many-to-many",
    ),
    pytest.param(
        ("decimal_places=2", "decimal_places=0"),
        "round or cut off shop_item.price (1 value)",
        "price",
        id="decimals",
    ),
    pytest.param(
        ("seen = models.DateTimeField", "seen = models.DateField"),
        "round or cut off shop_item.seen (1 value)",
        "seen",
        id="the time of a day",
    ),
    pytest.param(
        (CHOICES[CHOICES.index("class Item") : CHOICES.index("class Tag")], ""),
        "delete table shop_item (1 row)",
        "item",
        id="a table",
    ),
]


@pytest.mark.parametrize(("change", "loss", "name"), REMOVALS)
def test_what_holds_rows_is_not_removed_unasked_and_what_is_empty_goes(
    shop: Project, change: tuple[str, str], loss: str, name: str
) -> None:
    shop.sql(FILL)
    shop.write("shop/models.py", CHOICES.replace(*change))

    outcome = prepare(shop)

    assert outcome.code == 3, outcome.out
    assert loss in outcome.err
    assert "so it is not written unasked" in outcome.err
    assert "sh run.sh -2 manage makemigrations" in outcome.err
    assert written(shop) == ["0001_initial.py"]
    assert shop.sql("SELECT name, price::text FROM shop_item") == [("kite", "1.25")]
    assert shop.sql("SELECT count(*) FROM shop_item_tags") == [(1,)]

    shop.sql("TRUNCATE shop_item CASCADE")
    outcome = prepare(shop)

    assert outcome.code == 0, outcome.err
    (file,) = shop.root.glob("shop/migrations/0002*.py")
    assert name in file.name
    assert file.read_text().startswith("# Written by postdo, unasked")


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
    assert "delete column shop_question._order (2 values)" in outcome.err
    assert project.sql("SELECT _order FROM shop_question ORDER BY id") == [(1,), (0,)]

    project.sql("TRUNCATE shop_question")
    assert prepare(project).code == 0
    assert "order_with_respect_to" in written(project)[-1]


def test_what_cannot_be_counted_is_not_taken_for_nothing(shop: Project) -> None:
    shop.sql(FILL)
    shop.write("shop/models.py", CHOICES.replace(*PRICE_GONE))
    role = "postdo_uncounting"
    shop.sql(
        f"CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT CREATE ON SCHEMA public TO {role};"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};"
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"
    )
    shop.sql(f"REVOKE SELECT ON shop_item FROM {role}")  # noqa: S608  our own name
    try:
        host = shop.url.rpartition("@")[2]
        outcome = prepare(Project(shop.root, f"postgres://{role}:x@{host}"))
    finally:
        shop.sql(f"DROP OWNED BY {role}; DROP ROLE {role}")

    assert outcome.code == 3, outcome.out
    assert "what public.shop_item holds cannot be counted: permission denied" in outcome.err
    assert written(shop) == ["0001_initial.py"]


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


def test_a_file_that_postdo_wrote_deletes_no_rows_of_another_database(shop: Project) -> None:
    """Written where the table is empty (embedded, or by a colleague), applied where it is not."""
    shop.write("shop/models.py", CHOICES.replace(*PRICE_GONE))
    assert prepare(shop).code == 0
    assert manage(shop, "migrate", "shop", "0001").code == 0
    shop.sql(FILL.replace("1.25", "7.5"))

    outcome = prepare(shop)

    assert outcome.code == 3, outcome.out
    assert "shop.0002_remove_item_price was written by postdo" in outcome.err
    assert "delete column shop_item.price (1 value)" in outcome.err
    assert "sh run.sh -2 manage migrate" in outcome.err
    assert shop.sql("SELECT price::text FROM shop_item") == [("7.50",)]

    assert manage(shop, "migrate").code == 0  # the person's yes
    assert prepare(shop).code == 0


def test_rows_that_an_earlier_migration_brings_are_seen_too(shop: Project) -> None:
    """What is pending before it is applied first: only then it is known what the table holds."""
    shop.write("shop/models.py", CHOICES.replace(*PRICE_GONE))
    assert prepare(shop).code == 0
    assert manage(shop, "migrate", "shop", "0001").code == 0
    shop.sql(FILL.replace("1.25", "NULL"))
    shop.migration(
        "shop",
        "0001_more",
        'migrations.RunSQL("UPDATE shop_item SET price = 3")',
        after="0001_initial",
    )
    file = shop.root / "shop/migrations/0002_remove_item_price.py"
    file.write_text(file.read_text().replace("0001_initial", "0001_more"))

    outcome = prepare(shop)

    assert outcome.code == 5, outcome.out
    assert "delete column shop_item.price (1 value)" in outcome.err
    assert "applied and kept: shop.0001_more" in outcome.err
    assert shop.sql("SELECT price::text FROM shop_item") == [("3.00",)]


def test_nothing_is_asked_of_a_database_in_which_nothing_was_ever_applied(
    tmp_path: Path, database: str
) -> None:
    project = make_shop(tmp_path, database)
    project.write("shop/models.py", ITEM + "    price = models.IntegerField(null=True)\n")
    add = "migrations.AddField('Item', 'note', models.TextField(default='x'))"
    project.migration("shop", "0002_note", add, after="0001_initial")

    outcome = prepare(project)

    assert outcome.code == 0, outcome.err
    assert "remove_item_note" in written(project)[-1]


def test_a_removal_upon_what_is_still_pending_waits_for_it(shop: Project) -> None:
    shop.sql(FILL)
    add = "migrations.AddField('Item', 'note', models.TextField(null=True))"
    shop.migration("shop", "0002_note", add, after="0001_initial")
    note = CHOICES.replace("    tags", "    note = models.TextField(null=True)\n    tags")
    shop.write("shop/models.py", note.replace(*PRICE_GONE))

    outcome = prepare(shop)

    assert outcome.code == 3
    assert "is known only after the pending migrations (shop.0002_note) are applied" in outcome.err
    assert "sh run.sh -2 manage migrate" in outcome.err
    assert manage(shop, "migrate").code == 0
    assert "delete column shop_item.price (1 value)" in prepare(shop).err
