"""Where a system check stops Django's `migrate`, it stops postdo, before anything is touched."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import ITEM, Project, make_shop

ADD_PRICE = "migrations.AddField('Item', 'price', models.IntegerField(null=True))"
PRICE = "    price = models.IntegerField(null=True)\n"
# A project that guards its upgrade: {level} is Error or Warning.
GUARD = """
from django.core.checks import {level}, register


@register({tags})
def upgrade(app_configs, databases=None, **kwargs):
    if {when}:
        return [{level}("version 2 needs version 1.9 first", hint="Install 1.9.", id="shop.E001")]
    return []
"""
CASES = {"production": {}, "development": {"POSTDO_MODE": "development", "MAKEMIGRATIONS": "check"}}


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    """One migration is applied, and one is pending."""
    project = make_shop(tmp_path, database)
    assert project.run("migrate", environment=CASES["development"]).code == 0
    project.write("shop/models.py", ITEM + PRICE)
    project.migration("shop", "0002_price", ADD_PRICE, after="0001_initial")
    return project


def guard(project: Project, *, level: str = "Error", tags: str = "", when: str = "True") -> None:
    text = GUARD.format(level=level, tags=tags, when=when)
    project.write("shop/models.py", text + ITEM + PRICE)


def price_is_there(project: Project) -> bool:
    columns = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'price'"
    return project.sql(columns) == [(1,)]


@pytest.mark.parametrize("where", CASES)
@pytest.mark.parametrize(
    ("tags", "when"),
    [('"models"', "True"), ('"database"', "databases")],
    ids=["a static check", "a check of the database"],
)
def test_a_check_that_fails_stops_the_migration(
    shop: Project, where: str, tags: str, when: str
) -> None:
    guard(shop, tags=tags, when=when)

    outcome = shop.run("migrate", environment=CASES[where])

    assert outcome.code == 3, outcome.out
    assert "fails 1 system check: ?: (shop.E001) version 2 needs version 1.9 first" in outcome.err
    assert "(Install 1.9.)" in outcome.err
    assert "manage check" in outcome.err or "manage.py check" in outcome.err
    assert not price_is_there(shop)


def test_plan_says_the_same_as_migrate(shop: Project) -> None:
    guard(shop, tags='"database"', when="databases")

    plan, migrate = shop.run("plan"), shop.run("migrate")

    assert (plan.code, migrate.code) == (3, 3)
    assert "version 2 needs version 1.9 first" in plan.out
    assert "version 2 needs version 1.9 first" in migrate.err


def test_warnings_and_silenced_errors_stop_nothing(shop: Project) -> None:
    guard(shop, level="Warning")
    with (shop.root / "config/settings.py").open("a") as settings:
        settings.write('SILENCED_SYSTEM_CHECKS = ["shop.E002"]\n')
    text = (shop.root / "shop/models.py").read_text()
    silenced = GUARD.format(level="Error", tags="", when="True")
    silenced = silenced.replace("E001", "E002").replace("upgrade", "other")
    shop.write("shop/models.py", silenced + text)

    outcome = shop.run("migrate")

    assert outcome.code == 0, outcome.err
    assert price_is_there(shop)


def test_with_nothing_pending_no_check_is_run(shop: Project) -> None:
    assert shop.run("migrate").code == 0
    guard(shop)

    outcome = shop.run("migrate")

    assert outcome.code == 0, outcome.err
    assert "nothing to migrate" in outcome.out
