"""What a transaction does not take back by itself does not come in the way afterwards."""

from __future__ import annotations

from projects import Project, open_connection

from .applying import ADD_STOCK, UNDONE, add, drive, start

# A module that can be used once: the loop of another attempt would find nothing in it.
ONCE = """
from django.db import migrations

NAMES = iter(["one", "two", "three"])


def fill(apps, editor):
    item = apps.get_model("shop", "Item")
    for name in NAMES:
        item.objects.create(name=name)
    item.objects.filter(id=1).update(name="changed")


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [migrations.RunPython(fill)]
"""
# Ends the session that holds the lock.
LOSE_LOCK = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
    "'postdo driver'"
)
SET_BACK = "SELECT setval(pg_get_serial_sequence('shop_item', 'id'), 1)"


def test_another_attempt_does_what_the_first_one_did(shop: Project) -> None:
    shop.write("shop/migrations/0002_fill.py", ONCE)
    holder = open_connection(shop.url)
    holder.cursor().execute("BEGIN; UPDATE shop_item SET name = name WHERE id = 1")
    process = start(shop, {"LOCK_TIMEOUT_MS": "200", "LOCK_RETRY_SECONDS": "60"})
    assert process.stdout is not None
    while "trying again" not in (line := process.stdout.readline()):
        assert line, "it ended"
    holder.close()

    printed, _ = process.communicate(timeout=60)

    assert process.returncode == 0, printed
    found = shop.sql("SELECT count(*) FROM shop_item WHERE name IN ('one', 'two', 'three')")
    assert found == [(3,)]


def test_a_sequence_that_was_set_back_is_not_left_behind_its_rows(shop: Project) -> None:
    """setval is not undone with its transaction, and loaddata does it by itself."""
    add(shop, ADD_STOCK, f"migrations.RunSQL({SET_BACK!r}), migrations.RunSQL('SELECT 1 / 0')")
    ((rows,),) = shop.sql("SELECT count(*) FROM shop_item")
    assert drive(shop).code == UNDONE
    shop.sql("INSERT INTO shop_item (name) VALUES ('the next')")
    assert shop.sql("SELECT count(*) FROM shop_item") == [(rows + 1,)]


def test_a_sequence_is_brought_back_though_our_own_session_is_gone(shop: Project) -> None:
    """What ended it may end it at any moment, and all was taken back."""
    operations = f"migrations.RunSQL({SET_BACK!r}), migrations.RunSQL({LOSE_LOCK!r})"
    add(shop, ADD_STOCK, operations, ADD_STOCK.replace("stock", "later"))
    ((rows,),) = shop.sql("SELECT count(*) FROM shop_item")
    outcome = drive(shop)
    assert outcome.code == UNDONE, outcome.out
    assert "postdo lost its lock (the session ended)" in outcome.out
    shop.sql("INSERT INTO shop_item (name) VALUES ('the next')")
    assert shop.sql("SELECT count(*) FROM shop_item") == [(rows + 1,)]


def test_a_lock_session_lost_in_the_last_migration_is_named_as_that(shop: Project) -> None:
    add(shop, ADD_STOCK, f"migrations.RunSQL({LOSE_LOCK!r})")
    outcome = drive(shop, rehearse=False)
    assert outcome.code == UNDONE, outcome.out
    assert "postdo lost its lock (the session ended)" in outcome.out
