"""The rehearsal of a plan that was asked about is kept for the run that approves it, or not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from projects import Outcome, Project, made_once, make_shop, open_connection
from waiting import until

from embedded_postgres.binaries import choose

GATE = 4343
REUSED = "nothing relevant has changed since"
ANEW = "rehearsing again: "
MODEL = """
from django.db import models


class Item(models.Model):
    name = models.CharField(max_length=50)
    note = models.TextField(null=True)
"""
ADD_NOTE = 'migrations.AddField("Item", "note", models.TextField(null=True))'
DROP_NOTE = 'migrations.RemoveField("Item", "note")'
# Asked about for its five rows.
DELETE_OLD = """migrations.RunPython(
    lambda apps, _: apps.get_model("shop", "item").objects.filter(name__startswith="old").delete()
)"""
# Goes on when nobody has the lock.
GATED = f"""migrations.RunSQL('''DO $$ BEGIN
    WHILE NOT pg_try_advisory_xact_lock_shared({GATE}) LOOP PERFORM pg_sleep(0.02); END LOOP;
END $$''')"""
ROWS = """
INSERT INTO shop_item (name, note) SELECT 'item ' || n, 'note' FROM generate_series(1, 50) n;
INSERT INTO shop_item (name) SELECT 'old ' || n FROM generate_series(1, 5) n;
"""
FLUSHED = "SELECT n_tup_ins + n_tup_del FROM pg_stat_user_tables WHERE relname = 'shop_item'"

DROPPING = """
SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted
AND relation = 'shop_item'::regclass AND database = (
    SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    """A shop with rows, at its first release."""
    allowed = {"MAKEMIGRATIONS": "off", "ON_INCOMPATIBLE": "allow"}
    made = make_shop(tmp_path, database, environment=allowed)
    made.migration("shop", "0002_note", ADD_NOTE, after="0001_initial")
    made.write("shop/models.py", MODEL)

    def first() -> None:
        done = made.run("migrate")
        assert done.code == 0, done.err
        made.sql(ROWS)

    made_once(made, "shop_with_notes", first)
    return made


def asked(shop: Project, **environment: str) -> str:
    """The checksum that a run asks to approve."""
    refused = shop.run("migrate", environment=environment)
    assert refused.code == 3, refused.out + refused.err
    return told(refused)


def told(refused: Outcome) -> str:
    found = re.search(r"--approve ([0-9a-f]{12})", refused.err)
    assert found, refused.err
    return found[1]


def no_copies(folder: Path) -> dict[str, str]:
    """An environment in which no copy can be made, neither by dump nor as a whole."""
    (folder / "no-programs").mkdir(exist_ok=True)
    path = os.environ["PATH"].replace(str(choose().folder), str(folder / "no-programs"))
    return {"POSTDO_PG_BIN": str(folder / "no-programs"), "PATH": path}


def rows_of(shop: Project) -> list[tuple[Any, ...]]:
    return shop.sql("SELECT name FROM shop_item ORDER BY name")


def columns(shop: Project) -> set[str]:
    asking = "SELECT column_name FROM information_schema.columns WHERE table_name = 'shop_item'"
    return {str(name) for (name,) in shop.sql(asking)}


def kept_rows(shop: Project) -> int:
    ((count,),) = shop.sql("SELECT count(*) FROM postdo_journal.rehearsal")
    return int(count)


# --- Used -----------------------------------------------------------------------------------------


def test_what_was_asked_about_is_approved_without_another_copy(
    shop: Project, tmp_path: Path
) -> None:
    shop.migration("shop", "0003_drop", DROP_NOTE, after="0002_note")
    checksum = asked(shop)
    shop.sql("INSERT INTO shop_item (name, note) VALUES ('meanwhile', 'note')")

    nowhere = no_copies(tmp_path)
    big = {"REHEARSE_DUMP_MB": "0", "POSTDO_APPROVE": checksum}
    # Nor is a base backup wanted, as it would be for another rehearsal.
    wanted = shop.run("needs-copy", "prepare", environment=big)
    assert "base backup needed for the rehearsal: no" in wanted.out, wanted.err
    done = shop.run("migrate", "--approve", checksum, environment=nowhere)

    assert done.code == 0, done.out + done.err
    assert REUSED in done.out
    assert columns(shop) == {"id", "name"}
    assert kept_rows(shop) == 0
    assert shop.run("migrate", environment=nowhere).out.count("nothing to migrate") == 1


def test_a_backup_is_of_the_moment_before_the_change_and_was_restored(
    shop: Project, tmp_path: Path
) -> None:
    backups = {"POSTDO_BACKUPS": str(tmp_path / "backups")}  # in the project, and no file of it
    shop.migration("shop", "0003_drop", DROP_NOTE, after="0002_note")
    checksum = asked(shop, **backups)
    shop.sql("INSERT INTO shop_item (name, note) VALUES ('meanwhile', 'note')")

    done = shop.run("migrate", "--approve", checksum, environment=backups)

    assert done.code == 0, done.out + done.err
    assert REUSED in done.out
    (backup,) = (tmp_path / "backups").iterdir()
    program = str(choose().program("pg_restore"))
    words = [program, "--data-only", "--table=shop_item", "-f-", str(backup)]
    restored = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "meanwhile\tnote" in restored.stdout
    assert shop.copies() == []


def test_of_two_approvals_at_once_one_is_carried_out(shop: Project, tmp_path: Path) -> None:
    shop.migration("shop", "0003_drop", DROP_NOTE, after="0002_note")
    words = ("migrate", "--approve", asked(shop))

    both = [shop.start(*words, environment=no_copies(tmp_path)) for _ in range(2)]
    printed = [process.communicate(timeout=120)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0], printed
    assert sorted(REUSED in text for text in printed) == [False, True]
    assert sorted("nothing to migrate" in text for text in printed) == [False, True]


# --- Not used, and the approval counts all the same -----------------------------------------------


SAVE = "CREATE TABLE postdo_journal.saved AS TABLE postdo_journal.rehearsal"
AGAIN = """
DELETE FROM postdo_journal.rehearsal;
INSERT INTO postdo_journal.rehearsal SELECT * FROM postdo_journal.saved;
"""


def test_it_is_rehearsed_again_and_said_why_where_something_is_not_as_it_was(
    shop: Project, tmp_path: Path
) -> None:
    shop.migration("shop", "0003_drop", DROP_NOTE, after="0002_note")
    checksum = asked(shop)
    shop.sql(SAVE)

    def says(why: str, **environment: str) -> None:
        # Where no copy can be made, another rehearsal is a refusal.
        values = {**no_copies(tmp_path), **environment}
        refused = shop.run("migrate", "--approve", checksum, environment=values)
        assert refused.code == 3, refused.out + refused.err
        assert f"{ANEW}{why}" in refused.out
        assert "note" in columns(shop)
        assert kept_rows(shop) == 0
        shop.sql(AGAIN)

    shop.sql(r"UPDATE postdo_journal.rehearsal SET contents = '\x00'")
    says("the saved rehearsal cannot be read")
    shop.sql("UPDATE postdo_journal.rehearsal SET kept = kept - interval '61 min'")
    says("the last rehearsal is 61 min old")
    says("the settings changed", DEBUG="on")
    for path in ("shop/helpers.py", "shop/rows.csv"):
        file = shop.write(path, "")
        says("project files changed")
        file.unlink()
    shop.sql("CREATE INDEX by_hand ON shop_item (name)")
    says("the schema changed")
    shop.sql("DROP INDEX by_hand")
    shop.sql("INSERT INTO shop_item (name, note) SELECT 'x', 'y' FROM generate_series(1, 60)")
    says("the plan is different now (ask: the migrations would delete column shop_item.note (110")
    shop.sql("INSERT INTO shop_item (name, note) SELECT 'x', 'y' FROM generate_series(1, 60)")
    until(lambda: shop.sql(FLUSHED)[0][0] >= 120, "the counters of the server tell")
    says("many rows of shop_item changed")


# --- Data that are others by the time of the approval ---------------------------------------------


def test_not_one_row_more_is_deleted_than_was_approved(shop: Project) -> None:
    shop.migration("shop", "0003_clean", DELETE_OLD, after="0002_note")
    checksum = asked(shop)
    shop.sql("INSERT INTO shop_item (name) SELECT 'old' FROM generate_series(1, 60)")
    before = rows_of(shop)

    refused = shop.run("migrate", "--approve", checksum)

    assert refused.code == 3, refused.out + refused.err
    assert f"{ANEW}the release was rolled back: more rows would be lost than" in refused.out
    assert "shop_item: 65 rows deleted, 5 in the rehearsal" in refused.out
    assert f"the approval {checksum} is for another plan" in refused.err
    assert "would delete 65 rows of shop_item" in refused.err
    assert rows_of(shop) == before

    # What is asked now is kept anew; and a loss of about that size is what was approved.
    shop.sql("INSERT INTO shop_item (name) VALUES ('old')")
    done = shop.run("migrate", "--approve", told(refused))
    assert done.code == 0, done.out + done.err
    assert f"{ANEW}the release was rolled back" in done.out
    assert len(rows_of(shop)) == 50


def test_rows_that_came_in_between_and_fail_are_shown_as_by_any_rehearsal(shop: Project) -> None:
    unique = 'migrations.AlterField("Item", "name", models.CharField(max_length=50, unique=True))'
    shop.migration("shop", "0003_drop", f"{DROP_NOTE}, {unique}", after="0002_note")
    checksum = asked(shop)
    shop.sql("INSERT INTO shop_item (name, note) VALUES ('item 1', 'a second one')")
    before = rows_of(shop)

    refused = shop.run("migrate", "--approve", checksum)

    assert refused.code == 3, refused.out + refused.err
    assert REUSED in refused.out
    assert f"{ANEW}the release was rolled back: shop.0003_drop: " in refused.out
    assert 'row: (name)=("item 1"): 2 rows' in refused.err
    assert rows_of(shop) == before
    assert "note" in columns(shop)


def test_a_run_that_is_killed_leaves_nothing_and_the_next_one_rehearses(shop: Project) -> None:
    shop.migration("shop", "0003_drop", f"{DROP_NOTE}, {GATED}", after="0002_note")
    words = ("migrate", "--approve", asked(shop))
    gate = open_connection(shop.url)
    gate.cursor().execute(f"SELECT pg_advisory_lock({GATE})")
    killed = shop.start(*words)
    until(lambda: shop.sql(DROPPING) == [(1,)], "the column is being dropped")
    os.kill(killed.pid, signal.SIGKILL)
    assert REUSED in killed.communicate(timeout=60)[0]
    gate.close()
    until(lambda: shop.sql(DROPPING) == [(0,)], "the server has taken it back")
    assert "note" in columns(shop)
    assert kept_rows(shop) == 0

    done = shop.run(*words)

    assert done.code == 0, done.out + done.err
    assert "rehearsing the pending migrations on the copy" in done.out
    assert columns(shop) == {"id", "name"}
