"""The schema that applied migrations should have made, with the archive's files."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import CREATE_ITEM, Project, make_shop
from rehearsing import traced

STOCK = 'migrations.AddField("Item", "stock", models.IntegerField(default=0))'


def columns_of(project: Project, targets: tuple[tuple[str, str], ...], **sources: str) -> set[str]:
    archived = tuple((f"shop.{name}", text) for name, text in sources.items())
    trace = traced(project, "expected", targets=targets, archived=archived)
    columns = trace.after.of("column")
    return {entry.name for entry in columns if entry.table == "public.shop_item"}


def test_only_the_targets_are_applied_and_kept(tmp_path: Path, database: str) -> None:
    project = make_shop(tmp_path, database)
    project.migration("shop", "0002_stock", STOCK, after="0001_initial")
    project.migration("shop", "0003_more", STOCK.replace("stock", "more"), after="0002_stock")
    targets = (("shop", "0001_initial"), ("shop", "0002_stock"))
    assert columns_of(project, targets) == {"id", "name", "stock"}
    names = project.sql("SELECT name FROM django_migrations WHERE app = 'shop' ORDER BY name")
    assert names == [("0001_initial",), ("0002_stock",)]


def test_an_archived_file_counts_before_the_edited_one_and_for_a_missing_one(
    tmp_path: Path, database: str
) -> None:
    project = make_shop(tmp_path, database)
    edited = project.migration("shop", "0002_stock", STOCK, after="0001_initial")
    applied = edited.read_text()
    edited.write_text("this is no Python at all")
    gone = project.migration(
        "shop", "0003_more", STOCK.replace("stock", "more"), after="0002_stock"
    )
    missing = gone.read_text()
    gone.unlink()
    sources = {"0002_stock": applied, "0003_more": missing}
    targets = tuple(("shop", name) for name in ("0001_initial", *sources))
    assert columns_of(project, targets, **sources) == {"id", "name", "stock", "more"}


@pytest.mark.parametrize("applied", [1, 2])
def test_a_squashed_migration_counts_once_all_that_it_replaces_are_applied(
    tmp_path: Path, database: str, applied: int
) -> None:
    project = make_shop(tmp_path, database)
    project.migration("shop", "0002_stock", STOCK, after="0001_initial")
    project.migration(
        "shop",
        "0001_squashed",
        CREATE_ITEM.replace(
            "])",
            '("stock", models.IntegerField(default=0)), '
            '("squashed", models.IntegerField(default=0))])',
        ),
        header="replaces = [('shop', '0001_initial'), ('shop', '0002_stock')]",
    )
    targets = (("shop", "0001_initial"), ("shop", "0002_stock"))[:applied]
    expected = {"id", "name"} if applied == 1 else {"id", "name", "stock", "squashed"}
    assert columns_of(project, targets) == expected


def test_the_archive_of_an_app_that_is_no_more_is_applied_too(
    tmp_path: Path, database: str
) -> None:
    project = make_shop(tmp_path, database)
    text = (project.root / "shop/migrations/0001_initial.py").read_text()
    trace = traced(
        project,
        "expected",
        targets=(("old", "0001_initial"),),
        archived=(("old.0001_initial", text),),
    )
    assert trace.after.tables >= {"public.old_item"}
    assert "public.shop_item" not in trace.after.tables
