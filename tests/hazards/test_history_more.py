"""Hazards 11 to 19: a record that is not true, and what belongs to others."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import pytest
from projects import REPOSITORY, query

from .site import MODELS, Site

STOCK = "migrations.AddField('Item', 'stock', models.IntegerField(null=True))"
COLOUR = "migrations.AddField('Item', 'colour', models.TextField(null=True))"
ADD_STOCK = "ALTER TABLE shop_item ADD COLUMN stock integer NULL"
RECORD = "INSERT INTO django_migrations (app, name, applied) VALUES ('shop', '0002_stock', now())"
FORGET = "DELETE FROM django_migrations WHERE name = '0002_stock'"
CHECK = {"MAKEMIGRATIONS": "check"}


def add_app(site: Site, label: str, models: str) -> None:
    """One more installed app, whose folder is there, without migrations."""
    settings = site.root / "config/settings.py"
    settings.write_text(settings.read_text().replace("'shop'", f"'shop', '{label}'"))
    site.project.write(f"{label}/__init__.py", "")
    site.project.write(f"{label}/models.py", f"from django.db import models\n{models}")


def is_refused(site: Site, *command: str, words: tuple[str, ...]) -> None:
    """Any command, refused with these words, nothing touched."""
    before = site.untouched()
    ended = site.run(*command)
    text = ended.out + ended.err
    assert ended.code == 3, text
    for word in words:
        assert word in text, f"it does not say {word!r}:\n{text}"
    assert site.untouched() == before


# --- 11: the code is older than the database ------------------------------------------------------


@pytest.mark.parametrize("command", ["prepare", "migrate"])
def test_older_code_starts_on_a_newer_schema_that_it_can_work_with(
    site: Site, command: str
) -> None:
    """HAZARDS 11."""
    file = site.migration("0002_stock", STOCK)
    site.ends_done()
    file.unlink()
    before = site.untouched()
    started = site.run(command)
    assert started.code == 0, started.err
    assert "the database is ahead of this code (shop.0002_stock)" in started.err
    assert "which can work with its schema" in started.err
    assert site.untouched() == before


@pytest.mark.parametrize(
    ("command", "newer", "word"),
    [
        ("prepare", "migrations.RemoveField('Item', 'note')", "note"),
        (
            "migrate",
            "migrations.AddField('Item', 'stock', models.IntegerField(default=0))",
            "stock",
        ),
        ("prepare", "migrations.RenameModel('Order', 'Purchase')", "shop_order"),
    ],
    ids=["removed", "required", "renamed"],
)
def test_older_code_is_refused_on_a_newer_schema_that_it_cannot_work_with(
    site: Site, command: str, newer: str, word: str
) -> None:
    """HAZARDS 11."""
    file = site.migration("0002_newer", newer)
    site.ends_done(ON_LOSS="allow", ON_INCOMPATIBLE="allow")
    file.unlink()
    is_refused(
        site,
        command,
        words=(
            "ahead of this code, which cannot work with its schema: shop.0002_newer",
            word,
            "backup",
        ),
    )


def test_older_code_brings_no_migration_of_its_own_into_a_newer_schema(site: Site) -> None:
    """HAZARDS 11."""
    file = site.migration("0003_stock", STOCK)
    site.ends_done()
    file.unlink()
    site.migration("0002_colour", COLOUR)
    site.ends_refused(
        "the database is ahead of this code: a newer release applied shop.0003_stock",
        "sources --show",
    )


# --- 12 and 13: the record and the schema disagree ------------------------------------------------


def test_a_faked_migration_is_explained_unrecorded_and_then_applied(site: Site) -> None:
    """HAZARDS 12."""
    site.migration("0002_stock", STOCK)
    site.sql(RECORD)
    drift = site.run("drift")
    assert drift.code == 3, drift.out
    text = drift.out + drift.err
    assert "shop.0001_initial is recorded" not in text
    assert "shop.0002_stock is recorded as applied, but its changes are not in the schema" in text
    assert "postdo drift --unrecord shop.0002_stock" in text
    site.migration(
        "0003_more",
        "migrations.AlterField('Item', 'stock', models.BigIntegerField())",
        after="0002_stock",
    )
    site.ends_refused("shop_item", "stock")
    (site.root / "shop/migrations/0003_more.py").unlink()
    mended = site.run("drift", "--unrecord", "shop.0002_stock")
    assert mended.code == 0, mended.err
    assert site.recorded() == ["0001_initial"]
    site.ends_done()
    assert site.sql("SELECT count(*), count(stock) FROM shop_item") == [(200, 0)]
    assert site.run("drift").code == 0


def test_what_is_really_applied_is_not_unrecorded(site: Site) -> None:
    """HAZARDS 12: neither in a right schema, nor where something else is missing."""
    site.migration("0002_stock", STOCK)
    site.ends_done()
    words = ("the schema does not prove that shop.0002_stock is wrongly recorded",)
    is_refused(site, "drift", "--unrecord", "shop.0002_stock", words=words)
    site.sql("ALTER TABLE shop_item DROP COLUMN note")
    is_refused(site, "drift", "--unrecord", "shop.0002_stock", words=words)
    assert site.recorded() == ["0001_initial", "0002_stock"]


def test_what_was_applied_and_not_recorded_is_refused_explained_and_recorded(site: Site) -> None:
    """HAZARDS 13: a server that was killed between Django's two commits."""
    site.migration("0002_stock", STOCK)
    site.ends_done()
    site.sql(FORGET)
    site.ends_refused(
        "shop_item", "shop.0002_stock is not recorded as applied, but its changes are in the schema"
    )
    record = "postdo drift --record shop.0002_stock"
    is_refused(site, "drift", words=("is not recorded as applied", record))
    mended = site.run("drift", "--record", "shop.0002_stock")
    assert mended.code == 0, mended.err
    assert site.recorded() == ["0001_initial", "0002_stock"]
    assert "nothing to migrate" in site.run("migrate").out
    assert site.run("drift").code == 0


def test_a_table_that_was_made_and_not_recorded_is_explained_and_recorded(site: Site) -> None:
    """HAZARDS 13: as Django leaves it, whose foreign keys come after the tables."""
    fields = '[("id", models.BigAutoField(primary_key=True)), '
    fields += '("item", models.ForeignKey("shop.Item", on_delete=models.CASCADE))]'
    site.migration("0002_stock", f'migrations.CreateModel("Stock", {fields})')
    site.ends_done()
    site.sql(FORGET)
    site.ends_refused("shop_stock", "already exists", "postdo drift")
    shown = site.run("drift")
    assert shown.code == 0, shown.err
    assert (
        "shop.0002_stock is not recorded as applied, but its changes are in the schema" in shown.out
    )
    mended = site.run("drift", "--record", "shop.0002_stock")
    assert mended.code == 0, mended.err
    assert "nothing to migrate" in site.run("migrate").out


@pytest.mark.parametrize(
    "more",
    [
        "migrations.RunPython(lambda apps, editor: None)",
        "migrations.RunSQL('UPDATE shop_item SET price = price + 1')",
        "migrations.SeparateDatabaseAndState([migrations.RunSQL('SELECT 1')])",
    ],
    ids=["python", "sql", "nested"],
)
def test_what_a_schema_cannot_show_is_not_recorded(site: Site, more: str) -> None:
    """HAZARDS 13: whether it was done, nothing proves."""
    site.migration("0002_stock", f"{STOCK}, {more}")
    site.sql(ADD_STOCK)
    is_refused(
        site,
        *("drift", "--record", "shop.0002_stock"),
        words=("the schema does not prove that shop.0002_stock is wrongly not recorded",),
    )
    assert site.recorded() == ["0001_initial"]


# --- 14 to 17: what belongs to others -------------------------------------------------------------


def test_tables_of_a_removed_app_are_told_and_never_dropped(site: Site) -> None:
    """HAZARDS 14."""
    add_app(site, "blog", "\nclass Post(models.Model):\n    title = models.TextField()\n")
    site.project.write("blog/migrations/__init__.py", "")
    site.project.migration(
        "blog",
        "0001_initial",
        'migrations.CreateModel("Post", [("id", models.BigAutoField(primary_key=True)), '
        '("title", models.TextField())])',
    )
    site.ends_done()
    site.sql("INSERT INTO blog_post (title) VALUES ('first'), ('second')")
    settings = site.root / "config/settings.py"
    settings.write_text(settings.read_text().replace(", 'blog'", ""))
    site.migration("0002_stock", STOCK)
    (found,) = site.plan()["problems"]
    assert (found["hazard"], found["blocking"], found["details"]) == (14, False, ["blog_post"])
    assert "the app blog is not installed any more" in site.run("plan").out
    site.ends_done()
    assert site.sql("SELECT title FROM blog_post ORDER BY id") == [("first",), ("second",)]
    assert site.run("drift").code == 0


def test_migrations_of_a_package_are_listed_with_its_name_and_version(site: Site) -> None:
    """HAZARDS 15."""
    packages = site.root / "lib/site-packages"
    site.environment["PYTHONPATH"] = f"{REPOSITORY}:{packages}"
    add_app(site, "cheese", "")
    made = site.root / "cheese"
    packages.mkdir(parents=True)
    made.rename(packages / "cheese")
    inside = packages.relative_to(site.root)
    site.project.write(f"{inside}/cheese/migrations/__init__.py", "")
    site.project.migration(
        f"{inside}/cheese",
        "0001_initial",
        'migrations.CreateModel("Cheese", [("id", models.BigAutoField(primary_key=True))])',
    )
    info = f"{inside}/django_cheese-4.1.dist-info"
    site.project.write(
        f"{info}/METADATA", "Metadata-Version: 2.1\nName: django-cheese\nVersion: 4.1\n"
    )
    site.project.write(f"{info}/top_level.txt", "cheese\n")
    site.migration("0002_stock", STOCK)
    pending = {one["name"]: one["package"] for one in site.plan()["pending"]}
    assert pending == {"cheese.0001_initial": "django-cheese 4.1", "shop.0002_stock": ""}
    shown = site.run("plan").out
    assert "cheese (django-cheese 4.1): 1 migration" in shown
    site.ends_done()


def test_tables_of_an_app_without_migrations_are_left_alone(site: Site) -> None:
    """HAZARDS 16: neither made, nor changed, nor called drift; nor is their model asked for one."""
    model = (
        "\nclass Log(models.Model):\n    text = models.TextField()\n    new = models.TextField()\n"
    )
    add_app(site, "legacy", model)
    site.sql("CREATE TABLE legacy_log (id serial PRIMARY KEY, text varchar(10))")
    site.sql("INSERT INTO legacy_log (text) VALUES ('kept')")
    site.migration("0002_stock", STOCK)
    site.project.write(
        "shop/models.py",
        MODELS.replace("class Order", "    stock = models.IntegerField(null=True)\n\nclass Order"),
    )
    before = site.snapshot()
    site.ends_done("prepare", **CHECK)
    after = site.snapshot()
    assert after.tables["public.legacy_log"] == before.tables["public.legacy_log"]
    assert table_lines(after.schema, "legacy_log") == table_lines(before.schema, "legacy_log")
    assert site.run("drift").code == 0


def test_the_table_of_an_unmanaged_model_is_left_alone(site: Site) -> None:
    """HAZARDS 17: also when its model is changed and deleted."""
    site.sql("CREATE TABLE ledger (id integer PRIMARY KEY, sum numeric)")
    site.sql("INSERT INTO ledger VALUES (1, 9)")
    before = site.snapshot()
    options = "options={'managed': False, 'db_table': 'ledger'}"
    fields = '[("id", models.IntegerField(primary_key=True)), ("sum", models.TextField())]'
    site.migration("0002_ledger", f'migrations.CreateModel("Ledger", {fields}, {options})')
    site.ends_done()
    changed = "migrations.AddField('Ledger', 'note', models.TextField(default='')), "
    changed += "migrations.RemoveField('Ledger', 'sum')"
    site.migration("0003_change", changed, after="0002_ledger")
    site.ends_done()
    site.migration("0004_delete", "migrations.DeleteModel('Ledger')", after="0003_change")
    site.ends_done()
    after = site.snapshot()
    assert after.schema == before.schema
    assert after.tables["public.ledger"] == before.tables["public.ledger"]
    assert site.run("drift").code == 0


def table_lines(schema: str, name: str) -> list[str]:
    """What a dump says of one table."""
    return [part for part in schema.split("\n\n") if name in part]


# --- 18 and 19 ------------------------------------------------------------------------------------


def test_a_migration_that_imports_live_models_fails_on_the_copy(site: Site) -> None:
    """HAZARDS 18: the model has a field that only a later migration adds."""
    site.project.write(
        "shop/models.py",
        MODELS.replace("class Order", "    stock = models.IntegerField(null=True)\n\nclass Order"),
    )
    site.project.write(
        "shop/prices.py",
        "def raise_prices(apps, editor):\n"
        "    from shop.models import Item\n"
        "    for item in Item.objects.all():\n"
        "        item.price += 1\n"
        "        item.save()\n",
    )
    site.migration(
        "0002_raise", "migrations.RunPython(__import__('shop.prices').prices.raise_prices)"
    )
    site.migration("0003_stock", STOCK, after="0002_raise")
    site.ends_refused("shop.0002_raise failed in the rehearsal", "stock", "apps.get_model", **CHECK)


ROUTER = """
DATABASES["archive"] = {**DATABASES["default"], "NAME": os.environ["ARCHIVE"]}
DATABASE_ROUTERS = ["config.router.Router"]
"""
ROUTES = """
class Router:
    def allow_migrate(self, db, app_label, model_name=None, **hints):
        return (db == "archive") == (model_name == "paper")
"""
PAPER = 'migrations.CreateModel("Paper", [("id", models.BigAutoField(primary_key=True))])'


def test_only_the_default_database_is_touched_and_that_is_said(site: Site) -> None:
    """HAZARDS 19: nothing is atomic across databases; a router is obeyed."""
    parts = urlsplit(site.project.url)
    name = parts.path[1:] + "_archive"
    site.sql(f"CREATE DATABASE {name}")
    archive = urlunsplit(parts._replace(path=f"/{name}"))
    try:
        settings = site.root / "config/settings.py"
        settings.write_text(settings.read_text() + ROUTER)
        site.project.write("config/router.py", ROUTES)
        site.environment["ARCHIVE"] = name
        site.migration("0002_stock", f"{STOCK}, {PAPER}")
        said = "postdo migrates only the database 'default', not archive"
        (found,) = site.plan()["problems"]
        assert (found["hazard"], found["what"], found["blocking"]) == (19, said, False)
        done = site.ends_done()
        assert "postdo migrates only the database 'default', not archive" in done.out
        assert query(archive, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [
            (0,)
        ]
        assert site.sql("SELECT to_regclass('shop_paper')") == [(None,)]
        assert site.recorded() == ["0001_initial", "0002_stock"]
        assert site.run("drift").code == 0
    finally:
        site.sql(f"DROP DATABASE {name} WITH (FORCE)")
