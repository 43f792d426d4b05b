"""What real models use of a real database, and what changes of it they can live with."""

from __future__ import annotations

from pathlib import Path

import pytest
from django import VERSION
from model_projects import look, migrated
from projects import Project, need_extensions, query

from postdo.compatibility.compare import clashes
from postdo.journal.model_usage import ModelUse
from postdo.schema.catalogue import Catalogue

MODELS = """
from django.db import models

class Category(models.Model):
    title = models.CharField(max_length=40)

class Item(models.Model):
    name = models.CharField(max_length=50)
    price = models.PositiveIntegerField()
    note = models.TextField(null=True)
    category = models.ForeignKey(Category, models.CASCADE, null=True)
    tags = models.ManyToManyField("Tag")

class Tag(models.Model):
    word = models.SlugField(unique=True)

class Elsewhere(models.Model):
    class Meta:
        managed = False

class Cheap(Item):
    class Meta:
        proxy = True
"""

EVERY_FIELD = """
import django
from django.contrib.postgres import fields as postgres
from django.contrib.postgres.search import SearchVectorField
from django.db import models

class Parent(models.Model):
    code = models.CharField(max_length=12, primary_key=True)

class Each(models.Model):
    big = models.BigIntegerField()
    binary = models.BinaryField()
    boolean = models.BooleanField()
    char = models.CharField(max_length=50)
    endless = models.CharField(db_collation="C", max_length=7)
    date = models.DateField()
    moment = models.DateTimeField()
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    duration = models.DurationField()
    email = models.EmailField()
    file = models.FileField()
    path = models.FilePathField(path="/")
    number = models.FloatField()
    integer = models.IntegerField()
    address = models.GenericIPAddressField()
    json = models.JSONField()
    positive = models.PositiveIntegerField()
    positive_big = models.PositiveBigIntegerField()
    positive_small = models.PositiveSmallIntegerField()
    slug = models.SlugField()
    small = models.SmallIntegerField()
    text = models.TextField()
    time = models.TimeField()
    url = models.URLField()
    unique = models.UUIDField()
    parent = models.ForeignKey(Parent, models.CASCADE)
    one = models.OneToOneField(Parent, models.CASCADE, related_name="+")
    words = postgres.ArrayField(models.CharField(max_length=9))
    matrix = postgres.ArrayField(postgres.ArrayField(models.IntegerField(), size=3), size=2)
    pairs = postgres.HStoreField()
    range_integer = postgres.IntegerRangeField()
    range_big = postgres.BigIntegerRangeField()
    range_decimal = postgres.DecimalRangeField()
    range_moment = postgres.DateTimeRangeField()
    range_date = postgres.DateRangeField()
    search = SearchVectorField()

class SmallKey(models.Model):
    id = models.SmallAutoField(primary_key=True)

class Key(models.Model):
    id = models.AutoField(primary_key=True)

class Named(models.Model):
    class Meta:
        db_table = '"other"."named"'

if django.VERSION >= (5, 0):
    class Computed(models.Model):
        side = models.IntegerField()
        area = models.GeneratedField(
            expression=models.F("side") * models.F("side"),
            output_field=models.BigIntegerField(), db_persist=True)
        level = models.IntegerField(db_default=3)
"""


def columns(schema: Catalogue) -> dict[tuple[str, str], str]:
    return {(one.table, one.name): one.facts["type"] for one in schema.of("column")}


def test_every_fields_type_is_spelled_as_the_server_does(tmp_path: Path, database: str) -> None:
    need_extensions(database, "hstore")
    query(database, "CREATE EXTENSION hstore; CREATE SCHEMA other")
    project = migrated(tmp_path, database, EVERY_FIELD, "django.contrib.postgres")
    use, schema = look(project)
    real = columns(schema)
    seen = 0
    for table in (one for one in use.tables if one.model.startswith("shop.")):
        name = table.table if "." in table.table else f"public.{table.table}"
        for one in table.columns:
            assert one.type == real[name, one.name].removeprefix("public."), (name, one)
            seen += 1
    assert seen > 40
    assert clashes(use, schema, schema) == ()
    computed = {one.name: one for table in use.tables for one in table.columns}
    assert computed["id"].default
    if VERSION >= (5, 0):
        assert not computed["area"].written
        assert computed["level"].default


def test_only_models_that_migrate_made_are_used_and_every_table_of_them(
    tmp_path: Path, database: str
) -> None:
    project = migrated(tmp_path, database, MODELS)
    use, schema = look(project)
    shop = {table.model for table in use.tables if table.model.startswith("shop.")}
    assert shop == {"shop.Category", "shop.Item", "shop.Tag", "shop.Item_tags"}
    item = next(table for table in use.tables if table.model == "shop.Item")
    assert "foreign category_id shop_category" in item.rules
    assert "check price>=0" in item.rules
    constraints = {one.name: one for one in schema.of("constraint")}
    assert constraints["shop_item_price_check"].facts["definition"] == "CHECK ((price >= 0))"


def test_the_use_can_be_asked_for_inside_a_transaction_and_with_a_type_that_is_not_there(
    tmp_path: Path, database: str
) -> None:
    project = migrated(tmp_path, database, MODELS)
    project.write(
        "shop/models.py",
        MODELS + "class Odd(models.Field):\n    def db_type(self, connection):\n"
        "        return 'no_such_type'\n\nclass Later(models.Model):\n    odd = Odd()\n",
    )
    use, schema = look(project, "inside")
    types = {(table.model, one.name): one.type for table in use.tables for one in table.columns}
    assert types["shop.Later", "odd"] == "no_such_type"
    assert types["shop.Item", "name"] == "character varying(50)"
    assert "public.kept" in schema.tables


HURTFUL = (
    ("DROP TABLE shop_item_tags", "table shop_item_tags is dropped"),
    ("ALTER TABLE shop_item ALTER name TYPE varchar(9)", "to character varying(9)"),
    ("ALTER TABLE shop_item ALTER note SET NOT NULL", "becomes NOT NULL"),
    (
        "ALTER TABLE shop_item ADD x int NOT NULL DEFAULT 0; "
        "ALTER TABLE shop_item ALTER x DROP DEFAULT",
        "shop_item.x is new",
    ),
    ("CREATE UNIQUE INDEX once ON shop_item (lower(name))", "unique constraint or index once"),
    ("ALTER TABLE shop_item ADD UNIQUE (category_id)", "shop_item_category_id_key"),
    ("ALTER TABLE shop_item ADD CHECK (name <> '')", "shop_item_name_check"),
    ("ALTER TABLE shop_item ADD FOREIGN KEY (price) REFERENCES shop_tag", "price_fkey"),
    ("ALTER TABLE shop_item ALTER id DROP IDENTITY", "loses its default"),
    (
        "ALTER TABLE shop_item RENAME name TO title",
        "shop_item.name is dropped (perhaps renamed to title)",
    ),
    (
        "ALTER TABLE shop_item RENAME TO shop_thing",
        "shop_item is dropped (perhaps renamed to shop_thing)",
    ),
)


def test_each_hurtful_change_of_a_real_table_is_one_clash(
    shop: tuple[Project, ModelUse, Catalogue],
) -> None:
    project, use, before = shop
    for statement, said in HURTFUL:
        project.sql(statement)
        _, after = look(project)
        found = [clash.what for clash in clashes(use, before, after)]
        assert [said in what for what in found] == [True], (statement, found)
        before = after


def test_harmless_changes_of_a_real_table_are_compatible(
    shop: tuple[Project, ModelUse, Catalogue],
) -> None:
    project, use, before = shop
    for statement in (
        "ALTER TABLE shop_item ALTER name TYPE text, ALTER price TYPE bigint",
        "ALTER TABLE shop_item ADD x int NOT NULL DEFAULT 3, ADD y text",
        "ALTER TABLE shop_item ADD UNIQUE (id, name), ALTER note SET DEFAULT 'none'",
        "CREATE INDEX plain ON shop_item (price)",
        "CREATE TABLE shop_review (id int PRIMARY KEY, item_id bigint REFERENCES shop_item)",
        "CREATE VIEW cheap AS SELECT * FROM shop_item WHERE price < 10",
    ):
        project.sql(statement)
    _, after = look(project)
    assert [clash.what for clash in clashes(use, before, after)] == []


@pytest.fixture
def shop(tmp_path: Path, database: str) -> tuple[Project, ModelUse, Catalogue]:
    """A migrated shop with rows in it, and what its models use of it."""
    project = migrated(tmp_path, database, MODELS)
    project.sql("INSERT INTO shop_category (title) VALUES ('books')")
    project.sql("INSERT INTO shop_tag (id, word) VALUES (3, 'paper')")
    project.sql("INSERT INTO shop_item (name, price, note, category_id) VALUES ('map', 3, '', 1)")
    return project, *look(project)
