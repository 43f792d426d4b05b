"""Pending migrations are tried on a copy of the real data, and production stays as it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from projects import Project, make_shop
from rehearsing import TIMEOUT_SECONDS, migrated, state

# Stands for the command line: rehearses, prints what it found.
DRIVER = """
import json, os, sys
from dataclasses import asdict
from postdo.base import config, project
from postdo.base.console import Console
from postdo.base.database import closing, connect
from postdo.rehearsal.rehearse import rehearse
from postdo.base.context import Run
from postdo.base.signals import StopSignals
stop = StopSignals()
stop.install()
run = Run(config.read(os.environ), Console(sys.stderr, sys.stderr), stop)
project.load(run.config.settings_module)
project.set_up()
with closing(connect("postdo test", 5)) as session:
    found = rehearse(run, session)
values = asdict(found)
if found.trace:
    values["trace"] = {
        "steps": [step.migration for step in found.trace.steps],
        "losses": [asdict(loss) for loss in found.trace.losses],
        "tables": sorted(found.trace.after.tables),
    }
print(json.dumps(values))
"""
PRICE = 'migrations.AddField("Item", "price", models.IntegerField(default=0))'
VACUUM = "migrations.RunSQL('VACUUM shop_item')"


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    return migrated(make_shop(tmp_path, database))


def rehearsed(project: Project, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a rehearsal finds; it leaves neither a trace in the database nor a copy."""
    before = state(project)
    done = project.execute([sys.executable, "-c", DRIVER], environment)
    print(done.err)
    assert done.code == 0, done.err
    assert state(project) == before
    name = project.url.rpartition("/")[2]
    copies = (
        f"SELECT datname FROM pg_database WHERE shobj_description(oid, 'pg_database') ~ '{name}'"  # noqa: S608
    )
    assert project.sql(f"{copies} AND datname ~ 'scratch'") == []
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_it_succeeds_in_one_transaction_on_all_rows(shop: Project) -> None:
    shop.migration("shop", "0002_price", PRICE, after="0001_initial")
    drop = "migrations.RemoveField('Item', 'name')"
    shop.migration("shop", "0003_drop", drop, after="0002_price")
    found = rehearsed(shop)
    assert (found["method"], found["mode"]) == ("full", "transaction")
    assert (found["failure"], found["plain_failure"]) == (None, None)
    assert found["trace"]["steps"] == ["shop.0002_price", "shop.0003_drop", "post_migrate"]
    lost = {"kind": "column", "table": "public.shop_item", "name": "name", "count": 3}
    assert found["trace"]["losses"] == [lost]
    assert found["size_bytes"] > 1_000_000
    assert 0 < found["copy_seconds"] < TIMEOUT_SECONDS
    assert found["backup"] == ""


def test_what_cannot_run_in_one_transaction_is_tried_as_django_does_it(shop: Project) -> None:
    shop.migration("shop", "0002_price", PRICE, after="0001_initial")
    shop.migration("shop", "0003_vacuum", VACUUM, after="0002_price", header="atomic = False")
    drop = "migrations.RemoveField('Item', 'name')"
    shop.migration("shop", "0004_drop", drop, after="0003_vacuum")
    found = rehearsed(shop)
    assert found["mode"] == "swap"
    assert found["failure"]["migration"] == "shop.0003_vacuum"
    assert found["plain_failure"] is None
    # The copy has no such column any more: it is counted in production.
    lost = {"kind": "column", "table": "public.shop_item", "name": "name", "count": 3}
    assert found["trace"]["losses"] == [lost]


def test_what_the_data_do_not_allow_is_not_tried_again(shop: Project) -> None:
    shop.sql("INSERT INTO shop_item (name) VALUES ('Cup')")
    once = "models.CharField(max_length=50, unique=True)"
    operation = f"migrations.AlterField('Item', 'name', {once})"
    shop.migration("shop", "0002_once", operation, after="0001_initial", header="atomic = False")
    found = rehearsed(shop)
    assert (found["mode"], found["trace"], found["plain_failure"]) == ("", None, None)
    assert found["failure"]["rows"] == ["(name)=(Cup): 2 rows"]


def test_both_ways_can_fail_each_with_its_own_words(shop: Project) -> None:
    broken = f"{VACUUM}, migrations.RunSQL('SELECT nothing')"
    shop.migration("shop", "0002_both", broken, after="0001_initial", header="atomic = False")
    found = rehearsed(shop)
    assert found["mode"] == ""
    assert "VACUUM cannot run inside a transaction block" in found["failure"]["what"]
    assert found["plain_failure"]["what"] == 'column "nothing" does not exist'


def test_without_rows_the_losses_are_counted_in_production(shop: Project) -> None:
    shop.sql("CREATE TABLE old (id int); INSERT INTO old SELECT generate_series(1, 50)")
    operation = "migrations.RunSQL('DROP TABLE old'), migrations.RemoveField('Item', 'name')"
    shop.migration("shop", "0002_drop", operation, after="0001_initial")
    found = rehearsed(shop, {"REHEARSE": "schema"})
    assert (found["method"], found["mode"]) == ("schema", "transaction")
    assert {loss["table"]: loss["count"] for loss in found["trace"]["losses"]} == {
        "public.old": 50,
        "public.shop_item": 3,
    }


def test_the_backup_that_it_was_restored_from_is_named(shop: Project, tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    shop.migration("shop", "0002_price", PRICE, after="0001_initial")
    found = rehearsed(shop, {"POSTDO_BACKUPS": str(backups)})
    assert Path(f"{found['backup']}.part").exists()
    assert Path(found["backup"]).is_relative_to(backups)


def test_a_rehearsal_that_takes_too_long_is_stopped(shop: Project) -> None:
    sleep = "migrations.RunSQL('SELECT pg_sleep(60)')"
    shop.migration("shop", "0002_slow", sleep, after="0001_initial")
    # Time for the copy on a busy machine, and not for the migration.
    found = rehearsed(shop, {"REHEARSE_SECONDS": "10"})
    assert "REHEARSE_SECONDS" in found["failure"]["what"]
    assert found["failure"]["migration"] == "shop.0002_slow"


def test_a_role_that_is_no_superuser_rehearses_what_it_owns(tmp_path: Path, database: str) -> None:
    admin = migrated(make_shop(tmp_path, database))
    role = "postdo_rehearser"
    name = database.rpartition("/")[2]
    admin.sql(f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'x'")
    try:
        admin.sql(f"ALTER DATABASE {name} OWNER TO {role}; ALTER SCHEMA public OWNER TO {role}")
        for (table,) in admin.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            admin.sql(f"ALTER TABLE {table} OWNER TO {role}")
        shop = Project(tmp_path, f"postgres://{role}:x@{database.rpartition('@')[2]}")
        shop.migration("shop", "0002_price", PRICE, after="0001_initial")
        found = rehearsed(shop)
        assert (found["mode"], found["failure"]) == ("transaction", None)
    finally:
        admin.sql(f"REASSIGN OWNED BY {role} TO tester; DROP OWNED BY {role}")
        admin.sql(f"ALTER DATABASE {name} OWNER TO tester")
        admin.sql(f"DROP ROLE {role}")
