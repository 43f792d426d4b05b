"""Older code on a newer schema: what its models cannot live with."""

from __future__ import annotations

import pytest

from postdo.journal.model_usage import ColumnUse, ModelUse, TableUse
from postdo.release.downgrade import standing_clashes
from postdo.schema.catalogue import Catalogue, Entry

NAME = ColumnUse("name", "text", null=False, field="name")
USE = ModelUse("v1", (TableUse("shop.Item", "shop_item", (NAME,)),))


def schema(table: str, *columns: str) -> Catalogue:
    facts = {"type": "text", "nullable": "yes", "default": "", "identity": "", "generated": ""}
    home = Entry("table", table, table.partition(".")[2], {})
    return Catalogue(17, (home, *(Entry("column", table, name, facts) for name in columns)))


@pytest.mark.parametrize("home", ["public", "app"])
def test_a_table_is_found_in_whatever_schema_it_is(home: str) -> None:
    assert standing_clashes(USE, schema(f"{home}.shop_item", "name", "price")) == ()


@pytest.mark.parametrize("home", ["public", "app"])
def test_what_the_newer_schema_lacks_is_a_clash_in_whatever_schema(home: str) -> None:
    (clash,) = standing_clashes(USE, schema(f"{home}.shop_item", "title"))
    assert (clash.table, clash.breaks) == (f"{home}.shop_item", "reads")
    assert "shop_item.name" in clash.what
    (gone,) = standing_clashes(USE, schema(f"{home}.shop_thing", "other"))
    assert gone.what == "table shop_item is dropped"
