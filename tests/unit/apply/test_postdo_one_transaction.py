"""All pending migrations in one transaction: what fails takes everything back.

Each test begins with a shop that has rows, and compares schema, rows and recorder with before.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from projects import Project

from postdo.rehearsal.trace import Effect
from postdo.rehearsal.verify import ROW_SLACK, misfits

from .applying import (
    ADD_ORDER,
    ADD_STOCK,
    BROKEN,
    FILL_STOCK,
    TABLES,
    UNDONE,
    UNIQUE,
    add,
    contents,
    drive,
    function,
    name_of,
    recorded,
)


def undone(shop: Project, *said: str, **orders: Any) -> str:
    """Apply, expect it to be undone with these words, and everything to be as before."""
    before = contents(shop.url)
    outcome = drive(shop, **orders)
    assert outcome.code == UNDONE, outcome.out
    for words in said:
        assert words in outcome.out
    assert contents(shop.url) == before, outcome.out
    return outcome.out


def test_all_migrations_are_applied_and_recorded_with_what_the_caller_adds(shop: Project) -> None:
    add(shop, ADD_STOCK, FILL_STOCK, ADD_ORDER)
    outcome = drive(shop, inside=["CREATE TABLE journal AS SELECT txid_current() AS id"])
    assert outcome.code == 0, outcome.out
    assert "applied shop.0004_step (" in outcome.out
    assert '"attempts": 1' in outcome.out
    assert recorded(shop.url) == ["0001_initial", "0002_step", "0003_step", "0004_step"]
    assert shop.sql("SELECT count(*) FROM shop_order JOIN shop_item i ON i.id = item_id") == [
        (400,)
    ]
    assert shop.sql("SELECT count(*) FROM journal") == [(1,)]


def test_the_last_migration_failing_takes_all_of_them_back(shop: Project) -> None:
    add(shop, ADD_STOCK, FILL_STOCK, ADD_ORDER, BROKEN)
    printed = undone(
        shop,
        'shop.0005_step: column "name" of relation "shop_item" already exists',
        "in shop.migrations.0005_step",
        "nothing was applied; the database is unchanged",
    )
    assert "applied shop.0004_step" in printed
    assert "Traceback" not in printed


def test_a_migration_that_is_not_atomic_is_undone_too_when_it_fails_half_way(shop: Project) -> None:
    index = "migrations.RunSQL('CREATE INDEX CONCURRENTLY by_name ON shop_item (name)')"
    add(shop, f"{ADD_STOCK}, {index}, {BROKEN}", header="atomic = False")
    undone(shop, "shop.0002_step")


def test_a_post_migrate_handler_that_fails_takes_all_migrations_back(shop: Project) -> None:
    shop.write(
        "shop/apps.py",
        "from django.apps import AppConfig\n"
        "from django.db.models.signals import post_migrate\n\n\n"
        "def handler(**_):\n    raise ConnectionError('no cache at cache:6379')\n\n\n"
        "class Shop(AppConfig):\n    name = 'shop'\n\n"
        "    def ready(self):\n        post_migrate.connect(handler, sender=self)\n",
    )
    add(shop, ADD_STOCK, ADD_ORDER)
    undone(shop, "after the last migration: no cache at cache:6379", "shop/apps.py:6")


def test_what_the_caller_adds_fails_and_the_migrations_are_taken_back_with_it(
    shop: Project,
) -> None:
    add(shop, ADD_STOCK)
    undone(shop, "nowhere", inside=["INSERT INTO nowhere VALUES (1)"])


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT",
        "SELECT 1; /* now; /* really */ */ commit and chain; SELECT 2",
        "-- the end\\n END",
        "ROLLBACK; BEGIN",
        "PREPARE TRANSACTION 'mine'",
    ],
)
def test_sql_that_would_end_the_transaction_is_refused_and_nothing_stays(
    shop: Project, statement: str
) -> None:
    add(shop, ADD_STOCK, f'migrations.RunSQL("{statement}")')
    undone(shop, "shop.0003_step: it runs", "would end the transaction")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise SystemExit(0)", "it exited the process with code 0"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("connection.commit()", "forbidden"),
        ("connection.set_autocommit(True)", "forbidden"),
        ("connection.close()", "shop.0003_step"),
        ("raise ValueError('no such colour')", "shop.0003_step: no such colour"),
    ],
)
def test_whatever_a_function_does_to_get_out_nothing_stays(
    shop: Project, body: str, said: str
) -> None:
    add(shop, ADD_STOCK, function(body), ADD_ORDER)
    undone(shop, said)


def test_an_error_that_a_function_swallows_is_named_and_nothing_stays(shop: Project) -> None:
    """After it the server takes no statement; what it says then does not tell why."""
    attempt = "try:\n        connection.cursor().execute('SELECT 1/0')\n"
    body = f"{attempt}    except Exception:\n        pass"
    add(shop, ADD_STOCK, function(body), ADD_ORDER)
    printed = undone(shop, "division by zero")
    assert "current transaction is aborted" not in printed


def test_an_error_that_a_function_handles_in_a_savepoint_is_no_failure(shop: Project) -> None:
    body = (
        "from django.db import transaction\n    try:\n        with transaction.atomic():\n"
        "            connection.cursor().execute('SELECT 1/0')\n    except Exception:\n        pass"
    )
    add(shop, ADD_STOCK, function(body), FILL_STOCK)
    assert drive(shop).code == 0
    assert shop.sql("SELECT DISTINCT stock FROM shop_item") == [(7,)]


def test_a_broken_block_that_django_would_roll_back_in_silence_is_undone(shop: Project) -> None:
    body = (
        "from django.db import transaction\n    try:\n"
        "        with transaction.atomic(savepoint=False):\n            raise ValueError\n"
        "    except ValueError:\n        pass"
    )
    add(shop, ADD_STOCK, function(body))
    undone(shop, "shop.0003_step")


def test_a_commit_by_the_driver_itself_is_noticed_and_never_called_done(shop: Project) -> None:
    add(shop, ADD_STOCK, function("connection.connection.commit()"), ADD_ORDER)
    outcome = drive(shop)
    assert outcome.code == 5
    assert "committed on the raw database connection" in outcome.out
    assert "stays applied, up to that COMMIT: shop.0002_step, shop.0003_step" in outcome.out
    assert recorded(shop.url) == ["0001_initial", "0002_step"]


def test_a_function_that_fails_after_the_commit_does_not_undo_what_is_done(shop: Project) -> None:
    body = "from django.db import transaction\n    transaction.on_commit(lambda: 1 / 0)"
    add(shop, ADD_STOCK, function(body))
    outcome = drive(shop)
    assert outcome.code == 0
    assert "all migrations are applied" in outcome.out
    assert recorded(shop.url) == ["0001_initial", "0002_step", "0003_step"]


def test_a_lost_lock_ends_it_before_the_next_migration(shop: Project) -> None:
    """Another process may have started by then."""
    holders = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
    holders += "AND granted AND pid <> pg_backend_pid() AND mode = 'ExclusiveLock'"
    add(shop, ADD_STOCK, f'migrations.RunSQL("{holders}")', ADD_ORDER)
    printed = undone(shop, "postdo lost its lock (the session ended)")
    assert "applied shop.0003_step" in printed
    assert "applied shop.0004_step" not in printed


def test_the_mark_of_an_unfinished_run_is_taken_away(shop: Project) -> None:
    shop.sql("COMMENT ON TABLE django_migrations IS 'postdo: unfinished run; mine'")
    assert drive(shop).code == 0
    said = "SELECT obj_description('django_migrations'::regclass, 'pg_class')"
    assert shop.sql(said) == [("mine",)]


def test_what_was_rehearsed_is_applied(shop: Project) -> None:
    add(shop, ADD_STOCK, FILL_STOCK, ADD_ORDER, UNIQUE)
    outcome = drive(shop, rehearse=True)
    assert outcome.code == 0, outcome.out
    done = json.loads(outcome.out.partition("done: ")[2])
    assert done["names"] == [f"shop.000{number}_step" for number in (2, 3, 4, 5)]
    assert done["attempts"] == 1
    assert 0 < done["locked_seconds"] < done["seconds"]


def test_an_owner_who_is_no_superuser_can_do_it(shop: Project) -> None:
    role = f"owner_{secrets.token_hex(4)}"
    shop.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    try:
        shop.sql(f"ALTER DATABASE {name_of(shop.url)} OWNER TO {role}")
        for (table,) in shop.sql(TABLES):
            shop.sql(f"ALTER TABLE {table} OWNER TO {role}")
        add(shop, ADD_STOCK, FILL_STOCK, ADD_ORDER, UNIQUE)
        other = urlsplit(shop.url)
        url = other._replace(netloc=f"{role}:x@{other.hostname}:{other.port}").geturl()
        outcome = drive(replace(shop, url=url), rehearse=True)
        assert outcome.code == 0, outcome.out
        assert len(recorded(shop.url)) == 5
    finally:
        shop.sql(f"REASSIGN OWNED BY {role} TO CURRENT_USER")
        shop.sql(f"DROP OWNED BY {role}")
        shop.sql(f"DROP ROLE {role}")


def test_other_effects_on_rows_than_rehearsed_are_undone(shop: Project) -> None:
    add(shop, "migrations.RunSQL(\"DELETE FROM shop_item WHERE name LIKE 'item 1%'\")")
    more = "INSERT INTO shop_item (name) SELECT 'item 1' FROM generate_series(1, 500)"
    before = contents(shop.url)
    outcome = drive(shop, rehearse=True, between=[more])
    assert outcome.code == UNDONE, outcome.out
    assert "shop_item: 611 rows deleted, 111 in the rehearsal" in outcome.out
    shop.sql("DELETE FROM shop_item WHERE id > 400")
    assert contents(shop.url) == before


def test_a_few_rows_more_than_rehearsed_are_a_sites_own_work(shop: Project) -> None:
    add(shop, ADD_STOCK, FILL_STOCK)
    more = "INSERT INTO shop_item (name) SELECT 'new' FROM generate_series(1, 50)"
    outcome = drive(shop, rehearse=True, between=[more])
    assert outcome.code == 0, outcome.out


def test_rows_are_not_compared_if_the_copy_had_none(shop: Project) -> None:
    add(shop, ADD_STOCK, FILL_STOCK)
    more = "INSERT INTO shop_item (name) SELECT 'new' FROM generate_series(1, 5000)"
    assert drive(shop, rehearse=True, between=[more], compare_rows=False).code == 0


def test_another_schema_than_rehearsed_is_undone(shop: Project) -> None:
    add(shop, ADD_STOCK)
    column = "ALTER TABLE shop_item ADD COLUMN by_hand integer"
    before = contents(shop.url)
    outcome = drive(shop, rehearse=True, between=[column])
    assert outcome.code == UNDONE, outcome.out
    assert "the schema differs from the rehearsal" in outcome.out
    assert "by_hand" in outcome.out
    shop.sql("ALTER TABLE shop_item DROP COLUMN by_hand")
    assert contents(shop.url) == before


def test_rows_that_came_after_the_rehearsal_and_break_a_constraint_undo_it(shop: Project) -> None:
    add(shop, ADD_STOCK, UNIQUE)
    twice = "INSERT INTO shop_item (name) VALUES ('item 5')"
    before = contents(shop.url)
    outcome = drive(shop, rehearse=True, between=[twice])
    assert outcome.code == UNDONE, outcome.out
    assert "shop.0003_step: could not create unique index" in outcome.out
    assert "DETAIL:  Key (name)=(item 5) is duplicated." in outcome.out
    shop.sql("DELETE FROM shop_item WHERE id > 400")
    assert contents(shop.url) == before


def test_effects_fit_within_the_slack_or_a_tenth_and_not_beyond() -> None:
    expected = (Effect("public.item", 0, 5000, 0),)
    assert misfits(expected, (Effect("public.item", ROW_SLACK, 5500, 0),)) == ()
    assert misfits(expected, (Effect("public.item", 0, 5501, 0),)) == (
        "item: 5501 rows updated, 5000 in the rehearsal",
    )
    assert misfits(expected, ()) == ("item: 0 rows updated, 5000 in the rehearsal",)
    other = (*expected, Effect("public.log", 0, 0, ROW_SLACK + 1))
    assert misfits(expected, other) == ("log: 101 rows deleted, 0 in the rehearsal",)
