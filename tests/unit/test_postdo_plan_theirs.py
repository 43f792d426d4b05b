"""What somebody else's package does cannot be written otherwise: the next step is one to follow."""

from __future__ import annotations

from dataclasses import replace

import plans
import pytest
from plans import DEFAULT
from test_postdo_plan_words import run_of

from postdo.plan.approval import refusal
from postdo.plan.decide import decide
from postdo.plan.findings import Findings
from postdo.rehearsal.trace import Lock, Loss, Step
from postdo.report import text

STOCK = "public.partner_stockrecord"
UNFOLLOWABLE = ("write Rename", "split", "smaller steps", "remove this", "fix the migration")
LOCKED = Step(plans.STOCK.name, 9.0, (), (Lock(STOCK, "SHARE", 9.0),), (), ())
DROPPED = replace(LOCKED, locks=(Lock(STOCK, "ACCESS EXCLUSIVE", 0.1),))
FAILED = replace(plans.NULLS, migration=plans.STOCK.name)


def theirs(**changes: object) -> Findings:
    return plans.findings(pending=(plans.STOCK,), **changes)


def traced(step: Step, **changes: object) -> object:
    return plans.rehearsal(replace(plans.trace(), steps=(step,), **changes))  # type: ignore[arg-type]


CASES = {
    "a failure on the rows": theirs(rehearsal=plans.failed(FAILED)),
    "a failure of the code": theirs(rehearsal=plans.failed(replace(FAILED, sqlstate=""))),
    "a swap": theirs(
        rehearsal=plans.rehearsal(
            mode="swap", failure=replace(plans.TWO_CONNECTIONS, migration=plans.STOCK.name)
        )
    ),
    "a long lock": theirs(rehearsal=traced(LOCKED, locks=LOCKED.locks)),
    "a loss": theirs(
        rehearsal=traced(DROPPED, locks=(), losses=(Loss("column", STOCK, "sku", 12),))
    ),
    "a running release that fails": theirs(
        rehearsal=traced(DROPPED, locks=()), clashes=(replace(plans.CLASH, table=STOCK),)
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_next_step_can_be_followed_for_a_package(case: str) -> None:
    (reason,) = decide(CASES[case], DEFAULT).reasons

    assert "django-oscar 4.1" in reason.next_step
    assert "keep the version that production runs" in reason.next_step
    assert not [words for words in UNFOLLOWABLE if words in reason.next_step]
    if reason.approvable:
        assert "approve the plan" in reason.next_step
    else:
        assert "MIGRATION_MODULES" in reason.next_step
    if "rows" in case:
        assert "run_before" in reason.next_step


def test_what_the_project_does_itself_it_can_write_otherwise() -> None:
    ours = replace(LOCKED, migration=plans.PRICE.name)
    found = plans.findings(
        pending=(plans.PRICE, plans.STOCK), rehearsal=traced(ours, locks=ours.locks)
    )
    (reason,) = decide(found, DEFAULT).reasons
    assert "smaller steps" in reason.next_step


def test_an_ask_with_many_lines_says_the_first_and_where_the_others_are() -> None:
    many = tuple(Loss("column", plans.ITEM, f"note_{n}", n + 1) for n in range(60))
    clashes = tuple(replace(plans.CLASH, what=f"column t.c{n} is dropped") for n in range(60))
    found = replace(plans.losing(*many), clashes=clashes)
    plan, (run, _) = decide(found, DEFAULT), run_of()

    refused = refusal(run, plan, "")

    assert len(refused.details) < 20
    assert "  and 55 more: postdo plan" in refused.details
    why = text.render(plan).partition("Pending: ")[0]
    assert len(why.splitlines()) < 35  # 150 if all are listed
    assert "and 55 more: see --html or --json" in why
    assert "--approve" in why
