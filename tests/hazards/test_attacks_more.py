"""What would end in a fourth way: sessions of a migration that Django does not make for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from .site import Site, make_site
from .steps import ALLOWED, run_python

# A session by whichever driver is installed, as a project's own code may open it; then {sql}.
BY_THE_DRIVER = """
import importlib, os
from importlib.util import find_spec
driver = importlib.import_module("psycopg2" if find_spec("psycopg2") else "psycopg")
session = driver.connect({where})
session.autocommit = True
session.cursor().execute({sql!r})
session.close()
"""
RAW = "UPDATE shop_item SET note = 'raw'"
NOTES = "SELECT count(*) FROM shop_item WHERE note = 'raw'"
# An alias of the same database, with a session that is there before the migrations are.
ALIAS = """
DATABASES["second"] = dict(DATABASES["default"])
"""
OPENS_IT = """
from django.apps import AppConfig


class Shop(AppConfig):
    name = "shop"

    def ready(self):
        from django.db import connections

        connections["second"].ensure_connection()
"""
BESIDE = "INSERT INTO shop_item (name, price) VALUES ('beside', 0)"


def by_the_driver(site: Site, sql: str, where: str = 'os.environ["DATABASE_URL"]') -> None:
    run_python(site, "0002_raw", BY_THE_DRIVER.format(where=where, sql=sql))


def outside(plan: dict[str, Any]) -> list[str]:
    found = plan["rehearsal"]["outside"]
    assert isinstance(found, list)
    return found


# --- By the driver itself -------------------------------------------------------------------------


def test_a_plan_changes_nothing_although_a_migration_connects_past_django(site: Site) -> None:
    """HAZARDS 61: the environment names the copy, and what is written there needs a swap."""
    by_the_driver(site, RAW)
    before = site.untouched()

    plan = site.plan(**ALLOWED)

    assert site.untouched() == before
    assert (plan["verdict"], plan["mode"]) == ("ask", "swap")
    assert outside(plan) == []


def test_what_is_written_past_django_is_done_with_all_the_rest_by_a_swap(site: Site) -> None:
    by_the_driver(site, RAW)

    site.ends_done(ON_DOWNTIME="allow", **ALLOWED)

    assert site.sql(NOTES) == [(200,)]


def test_what_would_be_written_past_django_beside_the_transaction_is_undone(site: Site) -> None:
    by_the_driver(site, RAW)

    site.ends_undone("shop.0002_raw", "read-only transaction", REHEARSE="off", **ALLOWED)


def test_a_migration_may_read_past_django(site: Site) -> None:
    """No false refusal."""
    by_the_driver(site, "SELECT count(*) FROM shop_item")

    assert "transaction" in site.ends_done("migrate", "--json", **ALLOWED).out


@pytest.mark.parametrize("network", ["block", "allow"])
def test_production_is_closed_to_the_driver_while_it_is_rehearsed(site: Site, network: str) -> None:
    """HAZARDS 61: whatever the environment says, and also where the network is open."""
    by_the_driver(site, RAW, repr(site.project.url))
    before = site.untouched()

    plan = site.plan(REHEARSE_NETWORK=network, **ALLOWED)

    assert site.untouched() == before
    assert plan["verdict"] == "refuse"
    (place,) = outside(plan)
    assert place.endswith("not through Django")
    assert f"database '{site.project.url.rpartition('/')[2]}' at 127.0.0.1:" in place
    assert "use the connection that Django passes to it" in json.dumps(plan)


def test_what_speaks_to_the_server_by_a_driver_of_its_own_is_refused(site: Site) -> None:
    """HAZARDS 61: also where the network is open, and at the very address of the database."""
    url = urlsplit(site.project.url)
    body = f"import socket\nsocket.create_connection(({url.hostname!r}, {url.port}))"
    run_python(site, "0002_own", body)

    plan = site.plan(REHEARSE_NETWORK="allow", **ALLOWED)

    assert plan["verdict"] == "refuse"
    assert outside(plan) == [f"database at {url.hostname}:{url.port}"]


# --- By Django, and not for the migration ---------------------------------------------------------


@pytest.mark.parametrize("rehearse", ["full", "off"])
def test_an_alias_that_was_open_before_does_not_write_beside_the_transaction(
    tmp_path: Path, database: str, rehearse: str
) -> None:
    """HAZARDS 19 and 58: its session is opened anew, so that it is heard of."""
    site = make_site(tmp_path, database, settings=ALIAS)
    site.project.write("shop/apps.py", OPENS_IT)
    body = f'from django.db import connections\nconnections["second"].cursor().execute("{BESIDE}")'
    run_python(site, "0002_beside", body)
    end = site.ends_refused if rehearse == "full" else site.ends_undone

    end("shop.0002_beside", REHEARSE=rehearse, **ALLOWED)


@pytest.mark.parametrize("rehearse", ["full", "off"])
def test_a_copy_of_the_connection_does_not_write_beside_the_transaction(
    site: Site, rehearse: str
) -> None:
    """HAZARDS 58: it is no alias of the settings, and has a transaction of its own all the same."""
    run_python(
        site,
        "0002_beside",
        f'other = schema_editor.connection.copy()\nother.cursor().execute("{BESIDE}")',
    )
    end = site.ends_refused if rehearse == "full" else site.ends_undone

    end("shop.0002_beside", REHEARSE=rehearse, **ALLOWED)


def test_an_alias_writes_again_once_the_migrations_are_committed(
    tmp_path: Path, database: str
) -> None:
    """HAZARDS 58: it is closed when the transaction ends, and opened anew as the settings say."""
    site = make_site(tmp_path, database, settings=ALIAS)
    run_python(
        site,
        "0002_later",
        f"""
from django.db import connection, connections, transaction
connections["second"].cursor().execute("SELECT 1")
transaction.on_commit(lambda: connections["second"].cursor().execute("{BESIDE}"))
""",
    )

    assert "warning" not in site.ends_done(**ALLOWED).err

    assert site.sql("SELECT count(*) FROM shop_item WHERE name = 'beside'") == [(1,)]
