"""The recipes of docs/expand-contract.md: each release works while the one before is serving."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import models
from django.db.migrations.operations.base import Operation
from documents import blocks, text_of
from model_projects import django, look, migrated
from projects import Project

from postdo.compatibility.compare import clashes
from postdo.journal.model_usage import ModelUse
from postdo.schema.catalogue import Catalogue

BLOCKS = blocks(text_of("docs/expand-contract.md"), "python")
# What stands at the top of a migration that `makemigrations --empty` writes, and of a models.py.
HEADER = "from django.db import migrations, models\n"
RELEASES = """
import django
from django.db import models

CONDITION = "condition" if django.VERSION >= (5, 1) else "check"

class Supplier(models.Model):
    name = models.CharField(max_length=40)

class Item(models.Model):
    name = models.CharField(max_length={length})
    note = models.TextField(null={null})
    code = models.CharField(max_length=20)
    weight = models.IntegerField()
    supplier = models.ForeignKey(
        Supplier, models.CASCADE, related_name="+", db_constraint={constraint})
    {price}

    class Meta:
        constraints = [{rules}]
"""
RULES = """
    models.UniqueConstraint(fields=["code"], name="item_code_once"),
    models.CheckConstraint(name="item_has_weight", **{CONDITION: models.Q(weight__gt=0)}),
"""
RELEASE_1 = """
migrations.SeparateDatabaseAndState(
    state_operations=[
        migrations.AlterField("item", "name", models.CharField(max_length=30)),
        migrations.AlterField("item", "note", models.TextField()),
        migrations.RemoveField("item", "price"),
        migrations.AddConstraint("item", models.UniqueConstraint(
            fields=["code"], name="item_code_once")),
        migrations.AddConstraint("item", models.CheckConstraint(
            name="item_has_weight",
            **{"condition" if __import__("django").VERSION >= (5, 1) else "check":
               models.Q(weight__gt=0)})),
    ],
    database_operations=[
        migrations.RunSQL('ALTER TABLE "shop_item" ALTER COLUMN "price" DROP NOT NULL'),
    ],
),
migrations.RunSQL('UPDATE "shop_item" SET "note" = $$$$ WHERE "note" IS NULL'),
"""
NOT_VALID = (
    'ALTER TABLE "shop_item" ADD CONSTRAINT "item_note_filled" '
    'CHECK ("note" IS NOT NULL) NOT VALID',
    'ALTER TABLE "shop_item" ADD CONSTRAINT "item_has_weight" CHECK ("weight" > 0) NOT VALID',
    'ALTER TABLE "shop_item" ADD CONSTRAINT "item_supplier" FOREIGN KEY ("supplier_id") '
    'REFERENCES "shop_supplier" ("id") DEFERRABLE INITIALLY DEFERRED NOT VALID',
    'ALTER TABLE "shop_item" ADD CONSTRAINT "item_code_once" UNIQUE ("code")',
    'ALTER TABLE "shop_item" ALTER COLUMN "name" TYPE varchar(30)',
    'ALTER TABLE "shop_item" DROP COLUMN "price"',
)
VALIDATE = (
    'ALTER TABLE "shop_item" VALIDATE CONSTRAINT "item_note_filled"',
    'ALTER TABLE "shop_item" ALTER COLUMN "note" SET NOT NULL',
    'ALTER TABLE "shop_item" DROP CONSTRAINT "item_note_filled"',
    'ALTER TABLE "shop_item" VALIDATE CONSTRAINT "item_has_weight"',
    'ALTER TABLE "shop_item" VALIDATE CONSTRAINT "item_supplier"',
)
SUPPLIER = """
migrations.SeparateDatabaseAndState(state_operations=[migrations.AlterField(
    "item", "supplier", models.ForeignKey("shop.Supplier", models.CASCADE, related_name="+"))]),
"""


def run_sql(statements: tuple[str, ...]) -> str:
    return ", ".join(f"migrations.RunSQL({statement!r})" for statement in statements)


def release(project: Project, models: str) -> tuple[ModelUse, Catalogue]:
    """Migrate to these models, which the migrations describe exactly; what is there then."""
    project.write("shop/models.py", models)
    django(project, "-m", "django", "makemigrations", "shop", "--check", "--dry-run")
    django(project, "-m", "django", "migrate", "--verbosity=0")
    return look(project)


def test_by_the_recipes_each_release_works_with_the_one_before_still_serving(
    tmp_path: Path, database: str
) -> None:
    price = "price = models.IntegerField()"
    old = {"length": 50, "null": True, "constraint": False, "price": price, "rules": ""}
    new = {"length": 30, "null": False, "constraint": False, "price": "", "rules": RULES}
    project = migrated(tmp_path, database, RELEASES.format(**old))
    project.sql("INSERT INTO shop_supplier (name) VALUES ('Miller')")
    project.sql(
        "INSERT INTO shop_item (name, note, code, weight, supplier_id, price) "
        "SELECT 'item', CASE WHEN n > 50 THEN 'new' END, n, n, 1, n FROM generate_series(1, 99) n"
    )
    use_0, schema_0 = look(project)

    project.migration("shop", "0002_expand", RELEASE_1, after="0001_initial")
    use_1, schema_1 = release(project, RELEASES.format(**new))
    assert clashes(use_0, schema_0, schema_1) == ()

    project.migration("shop", "0003_contract", SUPPLIER + run_sql(NOT_VALID), after="0002_expand")
    project.migration("shop", "0004_validate", run_sql(VALIDATE), after="0003_contract")
    _, schema_2 = release(project, RELEASES.format(**{**new, "constraint": True}))
    assert clashes(use_1, schema_1, schema_2) == ()

    # All at once, it would not have worked.
    at_once = [clash.what for clash in clashes(use_0, schema_0, schema_2)]
    assert len(at_once) == 5, at_once


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0])
def test_each_piece_of_code_works_where_it_is_pasted(block: str) -> None:
    found: dict[str, object] = {}
    exec(HEADER + block, found)  # noqa: S102  the document's own code

    if block.startswith("operations"):
        assert isinstance(found["operations"], list), block
        assert all(isinstance(one, Operation) for one in found["operations"]), block
    else:
        assert isinstance(found["size"], models.Field)


def test_the_document_has_code_to_paste() -> None:
    assert len(BLOCKS) > 5
