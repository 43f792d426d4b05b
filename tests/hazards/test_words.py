"""What is told of a change is what happens: losses that are none, renames that are known."""

from __future__ import annotations

from typing import Any

import pytest

from .site import KEY, MODELS, Site
from .steps import run_python

MOVE = """
migrations.AddField("Item", "text", models.TextField(null=True)),
migrations.RunSQL("UPDATE shop_item SET text = note"),
migrations.RunSQL("UPDATE shop_item SET note = NULL WHERE id > {kept}"),
migrations.RemoveField("Item", "note")
"""
VACUUM = "migrations.RunSQL('VACUUM shop_order')"
TRY = """
from django.db import transaction
Order = apps.get_model("shop", "Order")
try:
    with transaction.atomic():
        Order.objects.bulk_create([Order(item_id=1, quantity=n) for n in range(9)])
        Order.objects.filter(quantity=3).delete()
        with transaction.atomic():
            Order.objects.filter(quantity=4).delete()
        raise ValueError("no")
except ValueError:
    pass
Order.objects.filter(id__lte={deleted}).delete()
"""


def reasons(plan: dict[str, Any], kind: str = "") -> list[str]:
    return [
        text
        for one in plan["reasons"]
        if kind in ("", one["kind"])
        for text in (one["what"], *one["details"])
    ]


@pytest.mark.parametrize("mode", ["transaction", "swap"])
@pytest.mark.parametrize(("kept", "lost"), [(0, 0), (4, 3)])
def test_values_that_were_moved_before_their_column_goes_are_not_lost(
    site: Site, mode: str, kept: int, lost: int
) -> None:
    # every fourth note is NULL from the beginning
    site.migration("0002_move", MOVE.format(kept=kept))
    if mode == "swap":
        site.migration("0003_vacuum", VACUUM, after="0002_move", header="atomic = False")
    plan = site.plan(ON_INCOMPATIBLE="allow", ON_DOWNTIME="allow")
    assert plan["mode"] == mode
    found = [f"the migrations would delete column shop_item.note ({lost} values)"] if lost else []
    assert reasons(plan) == found
    assert plan["verdict"] == ("ask" if lost else "go")


@pytest.mark.parametrize("mode", ["transaction", "swap"])
@pytest.mark.parametrize("deleted", [0, 2])
def test_deletes_that_a_savepoint_takes_back_are_not_told_as_lost(
    site: Site, mode: str, deleted: int
) -> None:
    run_python(site, "0002_try", TRY.format(deleted=deleted))
    if mode == "swap":
        site.migration("0003_vacuum", VACUUM, after="0002_try", header="atomic = False")
    plan = site.plan(ON_DOWNTIME="allow")
    assert plan["mode"] == mode
    assert reasons(plan) == (
        ["the migrations would delete 2 rows of shop_order"] if deleted else []
    )


TAGS = f"""
migrations.CreateModel("Tag", [{KEY}]),
migrations.AddField("Item", "tags", models.ManyToManyField("shop.Tag"))
"""
TAGGED = (
    "class Item(models.Model):",
    "class Tag(models.Model):\n    pass\n\n\n"
    "class Item(models.Model):\n    tags = models.ManyToManyField(Tag)",
)
CLASHES = {
    "one is added and another removed": (
        "",
        "migrations.AddField('Item', 'remark', models.TextField(null=True)), "
        "migrations.RemoveField('Item', 'note')",
        "column shop_item.note is dropped",
    ),
    "renamed, retyped, and another added": (
        "",
        "migrations.RenameField('Item', 'note', 'remark'), "
        "migrations.AlterField('Item', 'remark', models.CharField(max_length=90, null=True)), "
        "migrations.AddField('Item', 'extra', models.TextField(null=True))",
        "column shop_item.note is renamed to remark",
    ),
    "the table of a many-to-many": (
        TAGS,
        "migrations.RenameModel('Item', 'Thing')",
        "table shop_item_tags is renamed to shop_thing_tags",
    ),
}


@pytest.mark.parametrize("case", CLASHES)
def test_a_rename_is_told_where_it_is_one_and_nowhere_else(site: Site, case: str) -> None:
    first, operations, said = CLASHES[case]
    if first:
        site.project.write("shop/models.py", MODELS.replace(*TAGGED))
    site.migration("0002_first", first)
    assert site.run("migrate").code == 0
    site.migration("0003_change", operations, after="0002_first")
    told = " | ".join(reasons(site.plan(), "incompatible"))
    assert said in told
    other = "renamed" if "dropped" in said else "dropped"
    assert other not in told
