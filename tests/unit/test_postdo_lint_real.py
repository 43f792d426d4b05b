"""The real squawk reads what Django sends, and says what it is known for."""

from __future__ import annotations

import io

from postdo.base import config
from postdo.base.console import Console
from postdo.base.context import Run
from postdo.base.signals import StopSignals
from postdo.checks.lint import advice


def said(*statements: str, concurrent: tuple[str, ...] = ()) -> set[tuple[str, str]]:
    """(migration, rule) of all advice on these statements of one migration."""
    errors = io.StringIO()
    read = config.read({"DJANGO_SETTINGS_MODULE": "x"})
    run = Run(read, Console(errors, errors), StopSignals())
    found = advice(run, {"shop.0002_x": statements}, 17, concurrent)
    assert errors.getvalue() == "", "squawk had something to complain about"
    return {(one.migration, one.rule) for one in found}


def test_a_type_that_holds_less_is_advised_against() -> None:
    change = 'ALTER TABLE "shop_item" ALTER COLUMN "id" TYPE bigint USING "id"::bigint'
    assert ("shop.0002_x", "changing-column-type") in said(change)


def test_a_new_column_that_may_be_null_needs_no_advice() -> None:
    assert said('ALTER TABLE "shop_item" ADD COLUMN "note" text NULL') == set()


def test_a_renamed_column_is_advised_against_beside_what_cannot_be_judged() -> None:
    rename = 'ALTER TABLE "shop_item" RENAME COLUMN "name" TO "title"'
    rows = 'UPDATE "shop_item" SET "title" = %s WHERE "id" = %s'
    assert ("shop.0002_x", "renaming-column") in said(rename, rows)


def test_who_wrote_concurrently_is_not_advised_to_do_so() -> None:
    # As the rehearsal sends it.
    change = ('CREATE INDEX "name_idx" ON "shop_item" ("name")', 'DROP INDEX "price_idx"')
    rules = {rule for _, rule in said(*change)}

    assert rules == {"require-concurrent-index-creation", "require-concurrent-index-deletion"}
    assert said(*change, concurrent=("shop.0002_x",)) == set()
    assert said(*change, concurrent=("shop.0001_other",)) == said(*change)
