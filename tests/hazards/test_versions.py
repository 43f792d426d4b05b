"""The ways of a release on every PostgreSQL that is at hand: 15 and the wheel's 16 and 18 in CI.

``POSTDO_TEST_PG_17=/usr/lib/postgresql/17/bin`` adds one. HAZARDS 28, 29 and 64 are about versions.
"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import query

from .search_servers import MAJORS, VARIABLE, AnySite, Server, at_hand, server
from .search_world import starting_with
from .site import Site, make_site

STOCK = "migrations.AddField('Item', 'stock', models.IntegerField(null=True))"
FILL = (
    "migrations.RunPython(lambda apps, editor: apps.get_model('shop', 'Item').objects"
    ".update(stock=1))"
)
INDEX = "migrations.RunSQL('CREATE INDEX CONCURRENTLY by_stock ON shop_item (stock)')"
CHEAP = "migrations.RunSQL('ALTER TABLE shop_item ADD CONSTRAINT cheap CHECK (price < 10)')"
VACUUM = "migrations.RunSQL('VACUUM shop_item')"
NOT_ATOMIC = "atomic = False"
VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'by_stock'::regclass"
BY_HAND = "ALTER TABLE shop_item ADD COLUMN by_hand integer; CREATE INDEX ON shop_item (price)"


@pytest.fixture(scope="module", params=at_hand(), ids=lambda major: f"postgresql-{major}")
def each_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each major that is at hand."""
    others = [str(major) for major in MAJORS if major not in at_hand()]
    if others:
        warnings.warn(
            f"not tried: PostgreSQL {', '.join(others)}; {VARIABLE.format(others[0])} names a "
            "folder with its programs",
            stacklevel=1,
        )
    with server(request.param) as running:
        yield running


@pytest.fixture
def anywhere(tmp_path: Path, each_server: Server) -> Iterator[Site]:
    """The shop on that server, at its first release, with rows."""
    name = f"shop_{secrets.token_hex(4)}"
    query(each_server.url, f"CREATE DATABASE {name}")
    made = make_site(tmp_path, each_server.url.rsplit("/", 1)[0] + f"/{name}")
    site = AnySite(made.project, made.environment)
    if each_server.dumps:
        site.environment["POSTDO_PG_BIN"] = str(each_server.programs)
    else:
        site.environment.update({"REHEARSE": "off", "ON_LOSS": "allow"})
    yield site
    for other in starting_with(each_server.url, name):  # a swap leaves the one before
        query(each_server.url, f'DROP DATABASE "{other}" WITH (FORCE)')


def test_a_release_with_data_and_an_index_concurrently_is_planned_and_done(anywhere: Site) -> None:
    """The rule: planned, rehearsed, applied, remembered."""
    anywhere.migration("0002_stock", STOCK)
    anywhere.migration("0003_fill", FILL, after="0002_stock")
    anywhere.migration("0004_index", INDEX, after="0003_fill", header=NOT_ATOMIC)
    before = anywhere.snapshot()
    plan = anywhere.plan()
    assert plan["verdict"] == "go", plan
    assert plan["mode"] == "transaction"
    assert anywhere.snapshot() == before
    anywhere.ends_done()
    assert anywhere.sql("SELECT count(*) FROM shop_item WHERE stock = 1") == [(200,)]
    assert anywhere.sql(VALID) == [(True,)]
    assert anywhere.recorded()[-1] == "0004_index"


def test_a_release_that_fails_on_the_rows_is_refused(anywhere: Site, each_server: Server) -> None:
    """HAZARDS 36; without a pg_dump it is asked for, as is said when there is none (HAZARDS 64)."""
    anywhere.migration("0002_cheap", CHEAP)
    nothing = f"no pg_dump and pg_restore of PostgreSQL {each_server.major}"
    anywhere.ends_refused("cheap" if each_server.dumps else nothing, REHEARSE="full")


def test_a_release_that_fails_only_in_production_is_undone(anywhere: Site) -> None:
    """HAZARDS 40, 50."""
    anywhere.migration("0002_stock", STOCK)
    anywhere.migration("0003_index", INDEX, after="0002_stock", header=NOT_ATOMIC)
    anywhere.migration("0004_cheap", CHEAP, after="0003_index")
    anywhere.ends_undone("0004_cheap", REHEARSE="off")


def test_drift_by_hand_is_removed_by_the_sql_that_is_printed(anywhere: Site) -> None:
    """HAZARDS 20, 22, 29: nothing but the drift is found, and its SQL removes it."""
    assert anywhere.run("drift").code == 0
    anywhere.sql(BY_HAND)
    anywhere.sql("ALTER TABLE shop_item ALTER COLUMN name DROP NOT NULL")
    found = anywhere.run("drift", "--json")
    assert found.code == 3, found.out + found.err
    differences = found.report["result"]["differences"]
    assert {one["table"] for one in differences} == {"public.shop_item"}
    for one in differences:
        if one["alarm"]:
            anywhere.sql("; ".join(one["sql"]))
    assert anywhere.run("drift").code == 0


def test_what_no_transaction_can_hold_is_swapped(anywhere: Site, each_server: Server) -> None:
    """HAZARDS 57: a fresh copy is migrated and takes the name; the one before stays."""
    anywhere.migration("0002_stock", STOCK)
    anywhere.migration("0003_vacuum", VACUUM, after="0002_stock", header=NOT_ATOMIC)
    if not each_server.dumps:
        anywhere.ends_refused("no pg_dump", REHEARSE="full")
        return
    anywhere.ends_done(ON_DOWNTIME="allow")
    assert anywhere.sql("SELECT count(*) FROM shop_order") == [(500,)]
