"""What a rehearsal means for the verdict, and what to do about each kind of failure."""

from __future__ import annotations

from dataclasses import replace

import plans
import pytest
from plans import DEFAULT, kinds, losing

from postdo.base.config import Policies, Rehearse
from postdo.plan.decide import decide
from postdo.rehearsal.trace import Failure, Loss


def test_a_failed_rehearsal_says_where_on_which_rows_and_what_to_do() -> None:
    plan = decide(plans.findings(rehearsal=plans.failed(plans.NULLS)), DEFAULT)
    (reason,) = plan.reasons

    assert (plan.verdict, plan.mode, reason.kind) == ("refuse", "", "rehearsal")
    assert plans.NULLS.migration in reason.what
    assert plans.NULLS.what in reason.what
    assert any(plans.NULLS.place in detail for detail in reason.details)
    assert [row for row in plans.NULLS.rows if f"row: {row}" in reason.details] == [
        *plans.NULLS.rows
    ]
    assert "default" in reason.next_step


def test_a_failure_that_both_ways_share_is_told_once() -> None:
    plan = decide(plans.findings(rehearsal=plans.failed(plans.NULLS, plans.NULLS)), DEFAULT)

    assert len(plan.reasons) == 1


def test_what_fails_as_django_runs_it_comes_before_what_only_one_transaction_cannot() -> None:
    failed = plans.failed(plans.TWO_CONNECTIONS, plans.NULLS)
    plan = decide(plans.findings(rehearsal=failed), DEFAULT)

    assert [plans.NULLS.what in reason.what for reason in plan.reasons] == [True, False]


REMEDIES = [
    (31, {"sqlstate": "23502"}, "fill the NULL values"),
    (32, {"sqlstate": "23505"}, "unique"),
    (
        33,
        {
            "sqlstate": "23505",
            "statement": 'ALTER TABLE "a" ADD COLUMN "code" uuid DEFAULT %s NOT NULL UNIQUE',
        },
        "once for all rows",
    ),
    (34, {"sqlstate": "22001"}, "too long"),
    (34, {"sqlstate": "42804"}, "USING"),
    (35, {"sqlstate": "23503"}, "refer to missing rows"),
    (36, {"sqlstate": "23514"}, "constraint"),
    (20, {"sqlstate": "42701"}, "postdo drift"),
    (13, {"sqlstate": "42P07"}, "not recorded"),
    (21, {"sqlstate": "42703"}, "postdo drift"),
    (27, {"sqlstate": "2BP01"}, "view"),
    (
        27,
        {"sqlstate": "0A000", "what": "cannot alter type of a column used by a view or rule"},
        "view",
    ),
    (37, {"sqlstate": "55006"}, "split"),
    (38, {"sqlstate": "57014"}, "REHEARSE_SECONDS"),
    (38, {"limit": "seconds"}, "batches outside"),
    (38, {"limit": "memory"}, "iterator"),
    (38, {"what": "MemoryError"}, "REHEARSE_MEMORY_MB"),
    (
        47,
        {
            "sqlstate": "53200",
            "what": "out of shared memory",
        },
        "max_locks_per_transaction",
    ),
    (53, {"sqlstate": "53100"}, "disk"),
    (55, {"sqlstate": "58P01"}, "extension"),
    (56, {"sqlstate": "42501"}, "owner"),
    (
        56,
        {"sqlstate": "42501", "what": 'permission denied to create extension "postgis"'},
        "DB_EXTENSIONS",
    ),
    (57, {"sqlstate": "55P04"}, "later migration"),
    (18, {"what": "FieldError: Cannot resolve keyword 'old' into field"}, "apps.get_model"),
    (61, {"limit": "network"}, "REHEARSE_NETWORK=allow"),
    (61, {"limit": "program"}, "REHEARSE=off"),
    (19, {"limit": "database"}, "only the default"),
    (60, {"migration": "post_migrate", "what": "KeyError: 'x'"}, "post_migrate handler"),
    (0, {"sqlstate": "57P01"}, "its log"),
    (0, {"what": "ValueError: 3"}, "shop.0002_price"),
]


@pytest.mark.parametrize(("hazard", "changes", "words"), REMEDIES)
def test_each_kind_of_failure_has_a_remedy_of_its_own(
    hazard: int, changes: dict[str, str], words: str
) -> None:
    bare = Failure("shop.0002_price", "it failed", "", "", "", (), single_only=False)
    failure = replace(bare, **changes)  # type: ignore[arg-type]
    plan = decide(plans.findings(rehearsal=plans.failed(failure)), DEFAULT)

    assert words in plan.reasons[0].next_step, hazard
    assert "\n" not in plan.reasons[0].next_step


def test_a_library_that_was_refused_the_network_is_understood_in_its_own_words() -> None:
    failure = replace(plans.NULLS, sqlstate="", what="PaymentError: try again later")
    rehearsal = replace(plans.failed(failure), outside=("network api.example.com:443",))
    plan = decide(plans.findings(rehearsal=rehearsal), DEFAULT)

    assert "REHEARSE_NETWORK=allow" in plan.reasons[0].next_step


def test_without_a_rehearsal_it_refuses_and_says_why_there_was_none() -> None:
    missing = plans.findings(rehearsal=None, rehearsal_missing="pg_dump 17 is not installed")
    plan = decide(missing, DEFAULT)

    assert (plan.verdict, kinds(plan)) == ("refuse", ["not-rehearsed"])
    assert "pg_dump 17 is not installed" in plan.line
    assert "REHEARSE=off" in plan.reasons[0].next_step


def test_a_problem_that_kept_the_rehearsal_from_beginning_is_the_only_reason() -> None:
    stuck = plans.findings(
        rehearsal=None, rehearsal_missing="not begun", problems=(plans.BLOCKING,)
    )
    assert kinds(decide(stuck, DEFAULT)) == ["problem"]


@pytest.mark.parametrize(
    ("changes", "policies"),
    [({"empty": True}, DEFAULT), ({}, replace(DEFAULT, rehearse=Rehearse.OFF))],
    ids=["empty database", "REHEARSE=off"],
)
def test_where_no_rehearsal_is_wanted_it_goes_in_one_transaction(
    changes: dict[str, object], policies: Policies
) -> None:
    unrehearsed = plans.findings(rehearsal=None, clashes=None, **changes)
    plan = decide(unrehearsed, policies)

    assert (plan.verdict, plan.mode, plan.online) == ("go", "transaction", None)


def test_a_change_that_nobody_rehearsed_says_so_in_its_line() -> None:
    policies = replace(DEFAULT, rehearse=Rehearse.OFF)
    plan = decide(plans.findings(rehearsal=None, clashes=None), policies)

    assert "not rehearsed (REHEARSE=off)" in plan.line


def test_a_rehearsal_without_rows_says_that_data_was_not_tried() -> None:
    plan = decide(plans.findings(rehearsal=plans.rehearsal(method="schema")), DEFAULT)

    assert plan.verdict == "go"
    assert any("can still fail on the data" in note for note in plan.notes)
    assert plan.online is None


def test_a_column_without_values_is_no_loss() -> None:
    assert decide(losing(Loss("column", plans.ITEM, "note", 0)), DEFAULT).verdict == "go"


def test_a_table_that_is_lost_is_named_before_rows_however_many() -> None:
    rows = Loss("rows", plans.ITEM, "", 10**6)
    plan = decide(losing(rows, Loss("table", "public.shop_note", "", 2)), DEFAULT)

    assert "would delete table shop_note (2 rows) and 1 more" in plan.line
    assert any("1,000,000 rows of shop_item" in detail for detail in plan.reasons[0].details)


def test_what_reaches_beyond_the_database_is_told_and_stops_nothing() -> None:
    outside = ("mail to 3 recipients", "program convert")
    plan = decide(plans.findings(rehearsal=plans.rehearsal(outside=outside)), DEFAULT)

    assert plan.verdict == "go"
    (note,) = plan.notes
    assert all(place in note for place in outside)
    assert "a rollback does not undo" in note
