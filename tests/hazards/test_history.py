"""Hazards 1 to 10: models, migration files and the record that do not belong together."""

from __future__ import annotations

from pathlib import Path

import pytest

from .site import MODELS, Site

STOCK = "migrations.AddField('Item', 'stock', models.IntegerField(null=True))"
COLOUR = "migrations.AddField('Item', 'colour', models.TextField(null=True))"
WEIGHT = "migrations.AddField('Item', 'weight', models.IntegerField(null=True))"
PRICE = "    price = models.IntegerField(default=0)\n"
WITH_STOCK = MODELS.replace(PRICE, f"{PRICE}    stock = models.IntegerField(null=True)\n")
CHECK = {"MAKEMIGRATIONS": "check"}
WRITE = {"POSTDO_MODE": "development", "MAKEMIGRATIONS": "write"}
SQUASH = "replaces = [('shop', '0001_initial'), ('shop', '0002_stock'), ('shop', '0003_colour')]"


def files(site: Site) -> list[str]:
    """The project's migrations, and whatever else is beside them."""
    return sorted(str(path) for path in site.root.glob("**/migrations/*"))


def is_refused(site: Site, command: str, *words: str, **environment: str) -> str:
    """Any command, refused with these words, nothing touched and no file written."""
    before, there = site.untouched(), files(site)
    ended = site.run(command, **environment)
    text = ended.out + ended.err
    assert ended.code == 3, text
    for word in words:
        assert word in text, f"it does not say {word!r}:\n{text}"
    assert "Traceback" not in text
    assert site.untouched() == before
    assert files(site) == there
    return text


def problems(site: Site) -> list[tuple[int, str]]:
    """The numbers of what the plan finds wrong, and what it says of each."""
    return [(one["hazard"], one["what"]) for one in site.plan()["problems"]]


def grow(site: Site) -> tuple[Path, Path]:
    """Two more migrations, applied by postdo; their files."""
    stock = site.migration("0002_stock", STOCK)
    colour = site.migration("0003_colour", COLOUR, after="0002_stock")
    site.ends_done()
    return stock, colour


# --- 1 to 4: models and their migrations ----------------------------------------------------------


@pytest.mark.parametrize("command", ["plan", "prepare"])
def test_a_model_without_its_migration_is_refused_with_the_list(site: Site, command: str) -> None:
    """HAZARDS 1."""
    site.project.write("shop/models.py", WITH_STOCK)
    is_refused(
        site,
        command,
        "models have changes that are not in a migration, in shop",
        "shop: Add field stock to item",
        "python manage.py makemigrations",
        **CHECK,
    )


def test_other_migrations_are_not_applied_while_a_model_lacks_its_own(site: Site) -> None:
    """HAZARDS 1."""
    site.project.write("shop/models.py", WITH_STOCK)
    site.migration("0002_colour", COLOUR)
    site.ends_refused("models have changes that are not in a migration", "Add field stock", **CHECK)
    assert site.recorded() == ["0001_initial"]


def test_production_never_writes_a_migration(site: Site) -> None:
    """HAZARDS 2: with nothing said about MAKEMIGRATIONS, production looks and writes no file."""
    site.project.write("shop/models.py", WITH_STOCK)
    is_refused(site, "prepare", "are not in a migration", MAKEMIGRATIONS="")


def test_a_renamed_field_is_not_written_unasked(site: Site) -> None:
    """HAZARDS 3: in development, where files are written."""
    site.project.write("shop/models.py", MODELS.replace("price =", "cost ="))
    is_refused(site, "prepare", "was price renamed to cost?", "with its data", **WRITE)


def test_a_renamed_model_is_not_written_unasked(site: Site) -> None:
    """HAZARDS 3."""
    site.project.write("shop/models.py", MODELS.replace("Order", "Purchase"))
    is_refused(site, "prepare", "was Order renamed to Purchase?", "with its data", **WRITE)


def test_a_rename_that_was_written_as_remove_and_add_is_recognised(site: Site) -> None:
    """HAZARDS 3: the values would be lost, and a RenameField would keep them."""
    pair = "migrations.RemoveField('Item', 'price'), "
    pair += "migrations.AddField('Item', 'cost', models.IntegerField(null=True))"
    site.migration("0002_cost", pair)
    site.ends_refused(
        "delete column shop_item.price (200 values)",
        "if price became cost, write RenameField instead: it keeps the values",
        ON_INCOMPATIBLE="allow",
    )
    site.migration("0002_cost", "migrations.RenameField('Item', 'price', 'cost')")
    before = site.sql("SELECT sum(price) FROM shop_item")
    site.ends_done(ON_INCOMPATIBLE="allow")
    assert site.sql("SELECT sum(cost) FROM shop_item") == before


def test_a_model_that_was_renamed_as_delete_and_create_is_recognised(site: Site) -> None:
    """HAZARDS 3."""
    made = """
    migrations.DeleteModel("Order"),
    migrations.CreateModel("Purchase", [
        ("id", models.BigAutoField(primary_key=True, serialize=False)),
        ("item", models.ForeignKey("shop.Item", on_delete=models.CASCADE)),
        ("quantity", models.IntegerField()),
    ]),
    """
    site.migration("0002_purchase", made)
    site.ends_refused(
        "delete table shop_order (500 rows)",
        "if shop_order became shop_purchase, write RenameModel instead: it keeps the rows",
        ON_INCOMPATIBLE="allow",
    )


def test_a_field_without_default_is_not_written_unasked(site: Site) -> None:
    """HAZARDS 4: Django's own makemigrations --noinput ends with code 3 and no word."""
    site.project.write(
        "shop/models.py", MODELS.replace(PRICE, f"{PRICE}    stock = models.IntegerField()\n")
    )
    is_refused(site, "prepare", "item: stock is new, NOT NULL and has no default", **WRITE)


def test_a_field_without_default_is_refused_if_somebody_wrote_it(site: Site) -> None:
    """HAZARDS 4."""
    site.migration("0002_stock", "migrations.AddField('Item', 'stock', models.IntegerField())")
    site.ends_refused(
        "shop.0002_stock failed in the rehearsal", "stock", "null values", ON_INCOMPATIBLE="allow"
    )


# --- 5 to 7: files --------------------------------------------------------------------------------


def test_two_last_migrations_are_refused_and_a_merge_is_proposed(site: Site) -> None:
    """HAZARDS 5."""
    site.migration("0002_stock", STOCK)
    site.migration("0002_colour", COLOUR)
    words = ("two latest migrations (shop: 0002_colour, 0002_stock)", "makemigrations --merge")
    site.ends_refused(*words)
    is_refused(site, "plan", *words)
    is_refused(site, "prepare", *words, **CHECK)
    merge = site.migration("0003_merge", "")
    merge.write_text(
        merge.read_text().replace(
            "[('shop', '0001_initial')]", "[('shop', '0002_stock'), ('shop', '0002_colour')]"
        )
    )
    site.ends_done()


def come_back(site: Site, file: Path) -> None:
    """What docs/migrations.md says of a file that version control lacks."""
    shown = site.run("sources", "--show", f"shop.{file.stem}")
    assert shown.code == 0, shown.err
    file.write_text(shown.out)


def test_a_lost_file_comes_back_from_the_archive(site: Site) -> None:
    """HAZARDS 6."""
    stock, colour = grow(site)
    kept = colour.read_bytes()
    colour.unlink()
    found = dict(problems(site))
    assert found.keys() == {11}, found  # the last one: as after a step back to older code
    colour.write_bytes(kept)
    kept = stock.read_bytes()
    stock.unlink()
    site.migration("0004_weight", WEIGHT, after="0003_colour")
    site.ends_refused(
        "restore shop.0002_stock from version control, or from "
        "`postdo sources --show shop.0002_stock`"
    )
    come_back(site, stock)
    assert stock.read_bytes() == kept
    site.ends_done()
    assert problems(site) == []


def test_a_file_that_was_renamed_is_refused_until_its_new_name_is_recorded(site: Site) -> None:
    """HAZARDS 6: to Django it is a new migration, and an old one that is lost."""
    _, colour = grow(site)
    colour.rename(colour.with_name("0003_tint.py"))
    refused = site.ends_refused(
        "shop.0003_colour was renamed to shop.0003_tint after it was applied"
    )
    site.sql(refused.err.rpartition("rename its record: ")[2])
    assert "nothing to migrate" in site.run("migrate").out
    assert site.run("drift").code == 0
    site.migration("0004_weight", WEIGHT, after="0003_tint")
    site.ends_done()


def test_a_squash_has_no_complaint_at_any_step_of_its_life(site: Site) -> None:
    """HAZARDS 6: recorded names without files are the rule after a squash."""
    single = (site.root / "shop/migrations/0001_initial.py", *grow(site))
    first = single[0].read_text().partition("operations = [")[2].rpartition("]")[0]
    name = "0001_squashed_0003_colour"
    squash = site.migration(name, f"{first} {STOCK}, {COLOUR}", header=SQUASH)
    squash.write_text(squash.read_text().replace("[('shop', '0001_initial')]\n", "[]\n"))
    site.ends_done()
    assert name in site.recorded()
    assert problems(site) == []
    for file in single:
        file.unlink()
    assert problems(site) == []
    site.migration("0004_weight", WEIGHT, after="0003_colour")
    site.ends_done()
    squash.write_text(squash.read_text().replace(SQUASH, ""))
    site.migration("0004_weight", WEIGHT, after=name)
    assert problems(site) == []
    site.sql("DELETE FROM postdo_journal.expected")
    assert site.run("drift").code == 0
    site.migration("0005_size", WEIGHT.replace("weight", "size"), after="0004_weight")
    site.ends_done()


def test_an_edited_file_is_told_and_what_was_applied_stays_expected(site: Site) -> None:
    """HAZARDS 7: the expected schema comes from what was archived, also when it is made anew."""
    stock, _ = grow(site)
    stock.write_text(stock.read_text().replace("IntegerField", "TextField"))
    (found,) = problems(site)
    assert found[0] == 7
    assert "edited after they were applied: shop.0002_stock" in found[1]
    site.sql("DELETE FROM postdo_journal.expected")
    drift = site.run("drift")
    assert drift.code == 0, drift.out + drift.err
    assert "building the expected schema" in drift.out
    site.migration("0004_weight", WEIGHT, after="0003_colour")
    site.ends_done()
    edited = {one["name"]: one["state"] for one in sources(site)}
    assert edited["shop.0002_stock"] == "edited"


def sources(site: Site) -> list[dict[str, str]]:
    """What ``postdo sources`` says of each migration."""
    found = site.run("sources", "--json").report["result"]["sources"]
    assert isinstance(found, list)
    return found


# --- 8 to 10: the record --------------------------------------------------------------------------


def test_a_history_without_order_is_refused_with_a_recipe_that_works(site: Site) -> None:
    """HAZARDS 8: an app that the first migration came to need after it was applied."""
    settings = site.root / "config/settings.py"
    settings.write_text(settings.read_text().replace("'shop'", "'shop', 'accounts'"))
    site.project.write("accounts/__init__.py", "")
    site.project.write("accounts/migrations/__init__.py", "")
    site.project.migration(
        "accounts",
        "0001_initial",
        'migrations.CreateModel("Account", [("id", models.AutoField(primary_key=True))])',
    )
    first = site.root / "shop/migrations/0001_initial.py"
    text = first.read_text().replace(
        "dependencies = []", "dependencies = [('accounts', '0001_initial')]"
    )
    first.write_text(text)
    refused = site.ends_refused(
        "shop.0001_initial is applied before its dependency accounts.0001_initial", "record"
    )
    is_refused(site, "plan", "applied before its dependency")
    site.sql(
        "CREATE TABLE accounts_account (id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY)"
    )
    (statement,) = [line for line in refused.err.splitlines() if "INSERT INTO" in line]
    site.sql(statement[statement.index("INSERT") :])
    site.migration("0002_stock", STOCK)
    site.ends_done()
    assert site.run("drift").code == 0


def squash_over(site: Site) -> Path:
    """A squash of 0001 to 0003, of which only 0001 is applied."""
    first = (site.root / "shop/migrations/0001_initial.py").read_text()
    operations = first.partition("operations = [")[2].rpartition("]")[0]
    squash = site.migration(
        "0001_squashed_0003_colour", f"{operations} {STOCK}, {COLOUR}", header=SQUASH
    )
    squash.write_text(squash.read_text().replace("[('shop', '0001_initial')]\n", "[]\n"))
    return squash


def test_a_squash_that_is_applied_in_part_goes_on_with_its_parts(site: Site) -> None:
    """HAZARDS 9."""
    squash_over(site)
    site.migration("0002_stock", STOCK)
    site.migration("0003_colour", COLOUR, after="0002_stock")
    site.ends_done()
    assert {"0002_stock", "0003_colour", "0001_squashed_0003_colour"} <= set(site.recorded())


def test_a_squash_that_lost_parts_before_they_were_applied_is_refused(site: Site) -> None:
    """HAZARDS 9: Django itself says that there is nothing to do."""
    squash_over(site)
    (number, what), *_ = problems(site)
    assert number == 9
    assert "only partly applied, without shop.0002_stock, shop.0003_colour" in what
    site.ends_refused(
        "is only partly applied", "restore shop.0002_stock, shop.0003_colour from version control"
    )


def test_files_that_were_deleted_too_early_are_named(site: Site) -> None:
    """HAZARDS 10: another migration needs one that nobody has."""
    squash_over(site)
    site.migration("0004_weight", WEIGHT, after="0003_colour")
    site.ends_refused("Django cannot order the migrations", "0003_colour", "from version control")
    is_refused(site, "prepare", "Django cannot order the migrations", "0003_colour")


def test_applied_files_that_were_deleted_too_early_come_back_from_the_archive(site: Site) -> None:
    """HAZARDS 10: with those that they need in turn."""
    lost = grow(site)
    for file in lost:
        file.unlink()
    site.migration("0004_weight", WEIGHT, after="0003_colour")
    both = "restore shop.0002_stock, shop.0003_colour from version control"
    site.ends_refused("Django cannot order the migrations", both)
    for file in lost:
        come_back(site, file)
    site.ends_done()
