"""Real CONCURRENTLY: resumable, out of everybody's way, and honest about what it leaves."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import forkserver
import pytest
from projects import Project, make_shop, open_connection, query
from waiting import until

from postdo.journal.serialization import pack

# What `postdo migrate --concurrently` does, without the command line around it.
DRIVER = """
import os, sys
from postdo.base import config, project
from postdo.django_migrations import history
from postdo.apply.concurrent import apply_concurrently
from postdo.base.console import Console
from postdo.base.database import connect
from postdo.base.errors import PostdoError
from postdo.base.advisory_lock import exclusive
from postdo.base.context import Run
from postdo.base.signals import StopSignals

read = config.read(os.environ)
run = Run(read, Console(sys.stdout, sys.stderr), StopSignals())
loaded = project.load(read.settings_module)
project.set_up()
session = connect("postdo test", 10)
with exclusive(run, session):
    try:
        names = apply_concurrently(run, session, history.read(session, loaded))
    except PostdoError as error:
        run.console.fail(type(error).__name__, error)
        sys.exit(5)
print("names:", *names)
"""
CONCURRENTLY = """
AddIndexConcurrently("item", models.Index(fields=["name"], name="item_name")),
{second}
"""
NON_ATOMIC = "atomic = False"
UNIQUE = """migrations.RunSQL('CREATE UNIQUE INDEX CONCURRENTLY item_unique ON shop_item (name)')"""
LOWER = """
AddIndexConcurrently(
    "item",
    models.Index(models.functions.Lower("name"), name="item_lower",
                 condition=models.Q(name__gt="a")),
)
"""
INDEXES = """
SELECT c.relname, i.indisvalid, c.relfilenode FROM pg_index i JOIN pg_class c
ON c.oid = i.indexrelid WHERE i.indrelid = 'shop_item'::regclass AND NOT i.indisprimary
ORDER BY 1
"""
IMPORT = "from django.contrib.postgres.operations import AddIndexConcurrently\n"
PATIENT = {"LOCK_TIMEOUT_MS": "100", "LOCK_RETRY_SECONDS": "30"}
# Fails in production, and not on the copy, until a row is there.
NOT_YET = """
DO $$ BEGIN IF current_database() !~ '^postdo_scratch'
AND NOT EXISTS (SELECT FROM shop_item WHERE name = 'ready')
THEN RAISE EXCEPTION 'not yet'; END IF; END $$
"""


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    shop = make_shop(tmp_path, database, settings="INSTALLED_APPS += ['django.contrib.postgres']")
    code, printed = run(shop)
    assert code == 0, printed
    shop.sql(
        "INSERT INTO shop_item (name) SELECT 'item ' || n % 400 FROM generate_series(1, 500) n"
    )
    return shop


def migration(shop: Project, name: str, operations: str, *, after: str, header: str = "") -> None:
    file = shop.migration("shop", name, operations, after=after, header=header)
    file.write_text(IMPORT + file.read_text())


def start(shop: Project, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    return forkserver.Popen(
        [sys.executable, "-c", DRIVER],
        cwd=shop.root,
        env=shop.variables(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(shop: Project, environment: dict[str, str] | None = None) -> tuple[int, str]:
    process = start(shop, environment)
    printed, _ = process.communicate(timeout=60)
    return process.returncode, printed


def indexes(shop: Project) -> dict[str, tuple[bool, int]]:
    return {name: (valid, file) for name, valid, file in shop.sql(INDEXES)}


def test_a_repeat_keeps_the_finished_index_and_rebuilds_the_one_that_failed(shop: Project) -> None:
    operations = CONCURRENTLY.format(second=UNIQUE)
    migration(shop, "0002_indexes", operations, after="0001_initial", header=NON_ATOMIC)
    code, printed = run(shop)
    assert code == 5, printed
    assert "concurrent mode" in printed
    assert "failed: shop.0002_indexes (not atomic, so part of it may stay)" in printed
    first = indexes(shop)
    assert {name: valid for name, (valid, _) in first.items()} == {
        "item_name": True,
        "item_unique": False,
    }
    shop.sql("DELETE FROM shop_item WHERE id > 400")
    code, printed = run(shop)
    assert code == 0, printed
    assert "removing the unfinished index item_unique" in printed
    assert "names: shop.0002_indexes" in printed
    second = indexes(shop)
    assert second["item_name"] == first["item_name"]  # the same file: not built again
    assert second["item_unique"][0]


def test_a_build_that_somebody_cancels_is_finished_by_the_repeat(shop: Project) -> None:
    operations = CONCURRENTLY.format(second=LOWER)
    migration(shop, "0002_indexes", operations, after="0001_initial", header=NON_ATOMIC)
    # The first index is there as by an earlier attempt, so the run comes to the second at once.
    shop.sql("CREATE INDEX item_name ON shop_item (name)")
    holder = open_connection(shop.url)
    cursor = holder.cursor()
    cursor.execute("BEGIN")
    cursor.execute("UPDATE shop_item SET name = name WHERE id = 1")
    process = start(shop)
    building = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%'"
    until(lambda: shop.sql(f"{building} AND wait_event_type = 'Lock'") != [], "the build")
    shop.sql(f"SELECT pg_cancel_backend(pid) FROM ({building}) AS building")  # noqa: S608
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 5, printed
    assert 'index "item_name" already exists' in printed
    assert not indexes(shop)["item_lower"][0]
    cursor.execute("COMMIT")
    holder.close()
    code, printed = run(shop)
    assert code == 0, printed
    assert 'removing the unfinished index "item_lower"' in printed
    assert indexes(shop)["item_lower"][0]
    # And once more with both there, the expression and the condition included.
    shop.sql("DELETE FROM django_migrations WHERE app = 'shop' AND name = '0002_indexes'")
    files = indexes(shop)
    assert run(shop)[0] == 0
    assert indexes(shop) == files


@pytest.mark.parametrize(
    "other", ["(id)", "(name DESC)", "(name) WHERE id > 7", "USING hash (name)"]
)
def test_an_index_of_the_same_name_but_another_definition_is_not_taken_for_it(
    shop: Project, other: str
) -> None:
    operations = CONCURRENTLY.format(second="")
    migration(shop, "0002_indexes", operations, after="0001_initial", header=NON_ATOMIC)
    shop.sql(f"CREATE INDEX item_name ON shop_item {other}")
    code, printed = run(shop)
    assert code == 5
    assert 'relation "item_name" already exists' in printed


def test_an_atomic_migration_waits_for_its_lock_in_small_pieces(shop: Project) -> None:
    stock = 'migrations.AddField("Item", "stock", models.IntegerField(default=0))'
    migration(shop, "0002_stock", stock, after="0001_initial")
    holder = open_connection(shop.url)
    cursor = holder.cursor()
    cursor.execute("BEGIN")
    cursor.execute("UPDATE shop_item SET name = name WHERE id = 1")
    process = start(shop, PATIENT)
    assert process.stdout is not None
    line = next(line for line in process.stdout if "did not get a lock" in line)
    assert "shop.0002_stock did not get a lock; trying again" in line
    cursor.execute("COMMIT")
    holder.close()
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    assert shop.sql("SELECT DISTINCT stock FROM shop_item") == [(0,)]


def test_a_statement_of_a_migration_that_is_not_atomic_is_tried_again_by_itself(
    shop: Project,
) -> None:
    stock = 'migrations.AddField("Item", "stock", models.IntegerField(null=True)),'
    operations = stock + CONCURRENTLY.format(second="")
    migration(shop, "0002_both", operations, after="0001_initial", header=NON_ATOMIC)
    holder = open_connection(shop.url)
    cursor = holder.cursor()
    cursor.execute("BEGIN")
    cursor.execute("UPDATE shop_item SET name = name WHERE id = 1")
    process = start(shop, PATIENT)
    assert process.stdout is not None
    assert any("a statement did not get a lock" in line for line in process.stdout)
    cursor.execute("COMMIT")
    holder.close()
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    assert indexes(shop)["item_name"][0]


def test_the_build_outwaits_a_transaction_and_writers_go_on_meanwhile(shop: Project) -> None:
    operations = CONCURRENTLY.format(second="")
    migration(shop, "0002_indexes", operations, after="0001_initial", header=NON_ATOMIC)
    holder = open_connection(shop.url)
    cursor = holder.cursor()
    cursor.execute("BEGIN")
    cursor.execute("UPDATE shop_item SET name = name WHERE id = 1")
    process = start(shop, {"LOCK_TIMEOUT_MS": "50", "LOCK_RETRY_SECONDS": "0"})
    waiting = (
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' "
        "AND wait_event_type = 'Lock' AND now() - query_start > '0.5s'"
    )
    until(lambda: shop.sql(waiting) != [], "a build that waits longer than the timeout")
    written: list[list[tuple[int]]] = []
    writer = threading.Thread(
        target=lambda: written.append(
            query(shop.url, "INSERT INTO shop_item (name) VALUES ('meanwhile') RETURNING 1")
        )
    )
    writer.start()
    writer.join(5)
    assert written == [[(1,)]]
    cursor.execute("COMMIT")
    holder.close()
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    assert indexes(shop)["item_name"][0]


def test_what_was_done_is_remembered_for_the_next_plan(shop: Project) -> None:
    quiet = {"MAKEMIGRATIONS": "off"}
    done = "SELECT release, mode, outcome, applied FROM postdo_journal.run ORDER BY id DESC LIMIT 1"
    kept = "SELECT name FROM postdo_journal.source WHERE app = 'shop' ORDER BY 1"
    stock = 'migrations.AddField("Item", "stock", models.IntegerField(null=True))'
    migration(shop, "0002_stock", stock, after="0001_initial")

    first = shop.run("migrate", "--concurrently", environment={**quiet, "APP_VERSION": "one"})

    assert first.code == 0, first.err
    assert shop.sql(done) == [("one", "concurrent", "done", ["shop.0002_stock"])]
    assert shop.sql(kept) == [("0001_initial",), ("0002_stock",)]

    # As run.sh asks for it, which starts `postdo prepare` and nothing else.
    migration(shop, "0002_code", stock.replace("stock", "code"), after="0002_stock")
    asked = {**quiet, "POSTDO_CONCURRENTLY": "1", "APP_VERSION": "one"}
    assert shop.run("prepare", environment=asked).code == 0
    assert shop.sql(done) == [("one", "concurrent", "done", ["shop.0002_code"])]

    migration(shop, "0003_price", stock.replace("stock", "price"), after="0002_code")
    plan = shop.run("plan", "--json", environment={**quiet, "APP_VERSION": "two"})
    assert plan.report["result"]["serving"] == "one", plan.out
    assert plan.report["result"]["drift"] == []
    assert "building the expected schema" not in plan.err  # it is known


def test_what_is_kept_of_a_failure_is_remembered_and_the_repeat_goes_on(shop: Project) -> None:
    quiet = {"MAKEMIGRATIONS": "off"}
    stock = 'migrations.AddField("Item", "stock", models.IntegerField(null=True))'
    migration(shop, "0002_stock", stock, after="0001_initial")
    operations = f"{CONCURRENTLY.format(second=LOWER)}, migrations.RunSQL({NOT_YET!r}, '')"
    migration(shop, "0003_indexes", operations, after="0002_stock", header=NON_ATOMIC)

    assert shop.run("migrate", "--concurrently", environment=quiet).code == 5

    ((outcome, what, applied),) = shop.sql(
        "SELECT outcome, what, applied FROM postdo_journal.run ORDER BY id DESC LIMIT 1"
    )
    assert (outcome, applied) == ("not-undone", ["shop.0002_stock"])
    assert "not yet" in what

    shop.sql("INSERT INTO shop_item (name) VALUES ('ready')")
    repeat = shop.run("migrate", "--concurrently", environment=quiet)
    assert repeat.code == 0, repeat.out + repeat.err
    assert "resuming the run of " in repeat.out


def test_a_repeat_with_an_edited_file_passes_the_gate_again(shop: Project) -> None:
    """What was corrected meanwhile can lose rows, and nobody has been asked about that."""
    quiet = {"MAKEMIGRATIONS": "off"}
    failing = f"migrations.RunSQL({NOT_YET!r}, '')"
    migration(shop, "0002_step", failing, after="0001_initial", header=NON_ATOMIC)
    assert shop.run("migrate", "--concurrently", environment=quiet).code == 5
    migration(shop, "0002_step", 'migrations.RemoveField("Item", "name")', after="0001_initial")

    refused = shop.run("migrate", "--concurrently", environment=quiet)

    assert refused.code == 3, refused.out + refused.err
    assert "would delete column shop_item.name (500 values)" in refused.err
    assert shop.sql("SELECT count(name) FROM shop_item") == [(500,)]


def test_a_damaged_record_of_a_run_is_no_licence_to_go_on(shop: Project) -> None:
    quiet = {"MAKEMIGRATIONS": "off"}
    failing = f"migrations.RunSQL({NOT_YET!r}, '')"
    migration(shop, "0002_step", failing, after="0001_initial", header=NON_ATOMIC)
    assert shop.run("migrate", "--concurrently", environment=quiet).code == 5
    shop.sql(f"UPDATE postdo_journal.run SET plan = decode('{pack('[]').hex()}', 'hex')")  # noqa: S608

    again = shop.run("migrate", "--concurrently", environment=quiet)

    assert "resuming" not in again.out
    assert "Traceback" not in again.err
    assert again.code in (3, 5), again.err


def test_what_would_be_lost_is_asked_in_this_mode_too(shop: Project) -> None:
    quiet = {"MAKEMIGRATIONS": "off"}
    migration(shop, "0002_loss", 'migrations.RemoveField("Item", "name")', after="0001_initial")

    refused = shop.run("migrate", "--concurrently", environment=quiet)

    assert refused.code == 3, refused.out + refused.err
    assert "would delete column shop_item.name (500 values)" in refused.err
    assert shop.sql("SELECT count(name) FROM shop_item") == [(500,)]
