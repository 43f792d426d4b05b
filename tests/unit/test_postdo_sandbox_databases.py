"""An alias that is the same database, or a standby of it, is not taken for another one."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import Project, make_shop
from rehearsing import do, migrated, python
from test_postdo_base_backup import base_backup
from test_postdo_process import settings, with_copy

from embedded_postgres import Cluster

ROUTER = """
DATABASES["replica"] = dict(DATABASES["default"], {more})
DATABASE_ROUTERS = ["config.settings.Router"]


class Router:
    def db_for_read(self, model, **hints):
        return "replica"

    def db_for_write(self, model, **hints):
        return "default"

    def allow_relation(self, *_, **__):
        return True
"""
# Reads where the router sends reads, as a RunPython on a site with a replica does.
READS = """
item = apps.get_model("shop", "Item")
assert item.objects.count() == 3
item.objects.using("default").filter(name="Cup").update(name="Mug")
"""


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    quiet = {"MAKEMIGRATIONS": "off", "ON_INCOMPATIBLE": "allow"}
    return migrated(make_shop(tmp_path / "shop", database, environment=quiet))


def test_a_standby_is_recognised_and_read_from_the_copy(
    shop: Project, postgres: Cluster, tmp_path: Path
) -> None:
    with base_backup(postgres, tmp_path / "standby", standby=True) as port:
        settings(shop, ROUTER.format(more=f"PORT={port}"))
        python(shop, "0002_reads", READS.strip(), after="0001_initial")

        planned = shop.run("plan", "--json")

        problems = planned.report["result"]["problems"]
        assert [one for one in problems if "only the database" in one["what"]] == []
        assert planned.report["result"]["verdict"] == "go", planned.out
        done = shop.run("migrate")
        assert done.code == 0, done.err
        assert "manage.py migrate --database" not in done.out + done.err
        assert shop.sql("SELECT count(*) FROM shop_item WHERE name = 'Mug'") == [(1,)]


def test_a_standby_is_not_written_in_the_rehearsal_either(
    shop: Project, postgres: Cluster, tmp_path: Path
) -> None:
    with base_backup(postgres, tmp_path / "standby", standby=True) as port:
        settings(shop, ROUTER.format(more=f"PORT={port}"))
        body = "apps.get_model('shop', 'Item').objects.using('replica').create(name='lost')"
        python(shop, "0002_writes", body, after="0001_initial")
        result = do(shop, "plain")
    assert result.failure is not None
    assert "read-only transaction" in result.failure.what


def test_the_same_database_by_another_address_is_the_copy(shop: Project) -> None:
    settings(shop, ROUTER.format(more="HOST='localhost'"))
    body = (
        "from django.db import connections\n"
        "with connections['replica'].cursor() as cursor:\n"
        "    cursor.execute('SELECT current_database()')\n"
        "    raise ValueError(cursor.fetchone()[0])"
    )
    python(shop, "0002_where", body, after="0001_initial")
    with_copy(shop, "ValueError: postdo_test_copy")
    assert "only the database" not in shop.run("plan").out


def test_a_database_of_the_same_name_elsewhere_is_another_one(
    shop: Project, tmp_path: Path
) -> None:
    settings(shop, ROUTER.format(more="PORT=1"))
    python(shop, "0002_nothing", "pass", after="0001_initial")
    assert "postdo migrates only the database 'default', not replica" in shop.run("plan").out
