"""A big database is rehearsed on a base backup, and never on anything that could be production."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from projects import Outcome, Project, make_shop, query
from rehearsing import migrated, python, state

from embedded_postgres import Application, Cluster
from embedded_postgres.layout import Layout
from embedded_postgres.ports import free_port

REFUSED = 3
BIG = {"REHEARSE_DUMP_MB": "1"}
PRICE = 'migrations.AddField("Item", "price", models.IntegerField(default=0))'
ONCE = "migrations.AlterField('Item', 'name', models.CharField(max_length=50, unique=True))"
PRICED = """
SELECT attname FROM pg_attribute WHERE attrelid = 'shop_item'::regclass AND attname = 'price'
"""
VACUUM = "migrations.RunSQL('VACUUM shop_item')"
# A hair's breadth from production: the same database, as the same role, by its own port.
TO_PRODUCTION = """
from django.db import connections
other = connections["default"].copy()
other.settings_dict["PORT"] = "{port}"
other.cursor().execute("DELETE FROM shop_item")
"""


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    """A shop with three rows, and a migration that waits."""
    quiet = {"MAKEMIGRATIONS": "off", "POSTDO_SERVING": "no"}
    made = migrated(make_shop(tmp_path / "shop", database, environment=quiet))
    made.migration("shop", "0002_price", PRICE, after="0001_initial")
    return made


@contextmanager
def base_backup(
    of: Cluster, folder: Path, *, durable: bool = False, standby: bool = False
) -> Iterator[int]:
    """A second server with everything that a cluster holds now; its port.

    `standby`: whether it follows what is written to the first one.
    """
    data = Layout(folder).data
    data.parent.mkdir(parents=True)
    source = of.connection()
    programs = of.status().programs
    assert programs is not None
    subprocess.run(
        [
            *(programs / "pg_basebackup", "-D", data, "--checkpoint=fast", "--no-sync"),
            *(["--write-recovery-conf"] if standby else []),
        ],
        env=source.environment(),
        check=True,
    )
    owner = of.layout.owner_password()
    Layout(folder).write_private(folder / "owner-password", owner)
    with started(folder, of, durable=durable) as port:
        yield port


@contextmanager
def started(folder: Path, like: Cluster, *, durable: bool = False) -> Iterator[int]:
    """A server that lets in who is let in by another one."""
    source = like.connection()
    server = Cluster(folder, source=like.source, durable=durable)
    port = free_port()
    try:
        tester = Application(source.user, source.database, source.password, superuser=True)
        server.start(port, tester)
        yield port
    finally:
        server.remove()


def beside(port: int) -> dict[str, str]:
    return {"POSTDO_COPY_SERVER": str(port), "POSTDO_COPY_SECONDS": "7", "REHEARSE_DUMP_MB": "1"}


def at(port: int, shop: Project, postgres: Cluster) -> str:
    """The URL of the shop's database on another server."""
    return shop.url.replace(f":{postgres.connection().port}/", f":{port}/")


def refused(shop: Project, environment: dict[str, str], command: str = "migrate") -> Outcome:
    """The refusal; production is as it was, and nothing of ours is left there."""
    before = state(shop)
    done = shop.run(command, "--json", environment=environment)
    assert done.code == REFUSED, done
    assert state(shop) == before
    assert shop.copies() == []
    return done


# --- Asking for one ------------------------------------------------------------------------------


def asks(shop: Project, command: str = "prepare", **environment: str) -> str:
    """What `needs-copy` says; that changes nothing, and the journal remembers no run."""
    before = state(shop)
    result = shop.root / "facts"
    given = {**BIG, "POSTDO_RESULT": str(result), **environment}
    done = shop.run("needs-copy", command, environment=given)
    assert done.code == 0, done
    assert state(shop) == before
    assert shop.copies() == []
    assert shop.sql("SELECT to_regclass('postdo_journal.run')") == [(None,)]
    (answer,) = (line for line in result.read_text().splitlines() if line.startswith("copy="))
    return answer.removeprefix("copy=")


@pytest.mark.parametrize("command", ["plan", "rehearse", "prepare"])
def test_a_big_database_is_rehearsed_on_a_base_backup(shop: Project, command: str) -> None:
    assert asks(shop, command) == "yes"


@pytest.mark.parametrize(
    "changed",
    [
        {"REHEARSE_DUMP_MB": "4000"},  # not big
        {"REHEARSE": "schema"},
        {"REHEARSE": "off"},
        {"REHEARSE_MAX_MB": "2"},  # too big for any copy
    ],
)
def test_no_other_is(shop: Project, changed: dict[str, str]) -> None:
    assert asks(shop, **changed) == "no"


def test_with_nothing_pending_and_with_what_is_refused_before_any_rehearsal_it_is_not(
    shop: Project,
) -> None:
    shop.migration("shop", "0002_other", PRICE, after="0001_initial")
    assert asks(shop) == "no", "two last migrations"
    assert asks(shop, "rehearse") == "yes", "which tries whatever is pending"

    (shop.root / "shop/migrations/0002_price.py").unlink()
    (shop.root / "shop/migrations/0002_other.py").unlink()
    assert asks(shop) == asks(shop, "rehearse") == "no"


def test_where_nobody_makes_one_a_big_database_is_copied_by_dump_and_restore(shop: Project) -> None:
    assert shop.run("migrate", environment=BIG).code == 0


# --- On the base backup --------------------------------------------------------------------------


def test_what_went_well_on_the_base_backup_is_done(
    shop: Project, postgres: Cluster, tmp_path: Path
) -> None:
    with base_backup(postgres, tmp_path / "copy") as port:
        plan = shop.run("plan", "--json", environment=beside(port)).report["result"]
        there = at(port, shop, postgres)
        done = shop.run("migrate", environment=beside(port))
        assert done.code == 0, done
        assert query(there, "SELECT to_regclass('shop_item')") == [("shop_item",)]
        assert query(there, PRICED) == [], "tried there, and rolled back"

    assert len(shop.sql(PRICED)) == 1
    found = plan["rehearsal"]
    assert (found["method"], found["mode"]) == ("full", "transaction")
    assert (found["copied_by"], found["copy_seconds"]) == ("base-backup", 7.0)
    assert found["backup"] == ""
    assert found["size_bytes"] > 1_000_000


def test_rows_in_the_way_are_found_on_the_base_backup_and_production_is_untouched(
    shop: Project, postgres: Cluster, tmp_path: Path
) -> None:
    shop.sql("INSERT INTO shop_item (name) VALUES ('Cup')")
    shop.migration("shop", "0003_once", ONCE, after="0002_price")

    with base_backup(postgres, tmp_path / "copy") as port:
        done = refused(shop, beside(port))

    assert "(name)=(Cup): 2 rows" in "\n".join(done.report["details"])


def test_what_cannot_run_in_one_transaction_is_tried_on_the_same_base_backup(
    shop: Project, postgres: Cluster, tmp_path: Path
) -> None:
    shop.migration("shop", "0003_vacuum", VACUUM, after="0002_price", header="atomic = False")
    before = state(shop)

    with base_backup(postgres, tmp_path / "copy") as port:
        found = shop.run("rehearse", "--json", environment=beside(port)).report["result"]

    assert found["mode"] == "swap"
    assert found["failure"]["migration"] == "shop.0003_vacuum"
    assert state(shop) == before


def test_a_rehearsed_migration_cannot_go_back_to_productions_port(
    shop: Project, postgres: Cluster, tmp_path: Path
) -> None:
    port = postgres.connection().port
    python(shop, "0003_out", TO_PRODUCTION.format(port=port).strip(), after="0002_price")

    with base_backup(postgres, tmp_path / "copy") as copy:
        done = refused(shop, beside(copy))

    assert "is closed in the rehearsal" in done.report["what"]


# --- What is no copy -----------------------------------------------------------------------------


def test_production_itself_is_no_copy(shop: Project, postgres: Cluster) -> None:
    done = refused(shop, beside(postgres.connection().port))

    assert "is production's own server" in done.report["what"]


def test_a_server_whose_data_are_to_be_kept_is_no_copy(
    shop: Project, postgres: Cluster, tmp_path: Path
) -> None:
    with base_backup(postgres, tmp_path / "copy", durable=True) as port:
        done = refused(shop, beside(port))

    assert "runs with fsync" in done.report["what"]


def test_another_cluster_is_no_copy(shop: Project, postgres: Cluster, tmp_path: Path) -> None:
    name = shop.url.rpartition("/")[2]
    with started(tmp_path / "other", postgres) as port:
        server = at(port, shop, postgres).removesuffix(name)
        query(f"{server}postgres", f"CREATE DATABASE {name}")
        done = refused(shop, beside(port), "rehearse")

    assert "holds another cluster" in done.report["what"]


def test_where_nothing_listens_there_is_no_copy(shop: Project) -> None:
    done = refused(shop, beside(free_port()))

    assert "refuses the connection" in done.report["what"]
    assert "REHEARSE_DUMP_MB" in done.report["next"]
