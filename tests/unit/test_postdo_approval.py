"""A plan is carried out only as far as its verdict, and who approves it, allow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import plans
import pytest
from plans import DEFAULT, losing
from test_postdo_plan_words import run_of

from postdo.base.errors import Refused
from postdo.plan.approval import refusal, require_approval
from postdo.plan.decide import Plan, decide

ASK = decide(losing(plans.COLUMN_LOSS), DEFAULT)
REFUSE = decide(plans.findings(problems=(plans.BLOCKING,)), DEFAULT)
GO = decide(plans.findings(), DEFAULT)
NOTHING = decide(plans.findings(pending=(), rehearsal=None, clashes=None), DEFAULT)
OTHER = "0123456789ab"


@pytest.mark.parametrize("plan", [GO, NOTHING], ids=lambda plan: plan.verdict)
@pytest.mark.parametrize("approval", ["", OTHER])
def test_what_needs_no_approval_passes_and_is_told(
    plan: Plan, approval: str, tmp_path: Path
) -> None:
    run, out = run_of()

    require_approval(run, plan, approval)

    assert out.getvalue() == f"postdo: {plan.line}\n"
    run.console.facts.write(tmp_path / "result")
    assert (tmp_path / "result").read_text() == f"said={plan.line}\n"


@pytest.mark.parametrize("approval", ["", OTHER, REFUSE.checksum])
def test_no_approval_lifts_a_refusal(approval: str) -> None:
    with pytest.raises(Refused) as refused:
        require_approval(run_of()[0], REFUSE, approval)

    assert refused.value.what == REFUSE.headline
    assert refused.value.next_step == plans.BLOCKING.next_step


@pytest.mark.parametrize("approval", ["", OTHER])
def test_what_has_to_be_approved_is_refused_without_its_own_checksum(approval: str) -> None:
    with pytest.raises(Refused) as refused:
        require_approval(run_of()[0], ASK, approval)

    assert ASK.checksum in refused.value.next_step


# --- What is said of it ---------------------------------------------------------------------------


def test_an_approval_is_called_that_of_another_plan_only_where_one_counts() -> None:
    run = run_of()[0]

    assert (
        f"{OTHER} is for another plan; this plan is {ASK.checksum}" in refusal(run, ASK, OTHER).what
    )
    assert refusal(run, ASK, ASK.checksum).what == ASK.headline
    assert refusal(run, ASK, "").what == ASK.headline
    assert refusal(run, REFUSE, OTHER).what == REFUSE.headline


def test_the_result_of_a_refusal_is_handed_on() -> None:
    assert refusal(run_of()[0], ASK, "", result=GO).result is GO


def test_of_several_reasons_the_first_that_refuses_says_what_to_do_next() -> None:
    both = decide(replace(losing(plans.COLUMN_LOSS), problems=(plans.BLOCKING,)), DEFAULT)
    error = refusal(run_of()[0], both, "")

    problem, loss = both.reasons
    assert error.next_step == problem.next_step
    assert error.details == (
        problem.what,
        *(f"  {detail}" for detail in problem.details),
        f"  next: {problem.next_step}",
        f"{loss.what} (ON_LOSS)",
        f"  next: {loss.next_step}",
    )


def test_of_two_reasons_to_ask_none_is_the_next_step_alone() -> None:
    both = decide(replace(losing(plans.COLUMN_LOSS), clashes=(plans.CLASH,)), DEFAULT)
    clash_first = replace(both, reasons=tuple(sorted(both.reasons, key=lambda one: one.kind)))
    error = refusal(run_of()[0], clash_first, "")

    assert clash_first.reasons[0].kind == "incompatible"
    assert clash_first.reasons[0].next_step not in error.next_step
    assert both.checksum in error.next_step


def test_a_reason_without_a_next_step_of_its_own_has_no_line_for_it() -> None:
    silent = replace(plans.BLOCKING, next_step="", details=())
    plan = decide(plans.findings(problems=(silent, plans.BLOCKING)), DEFAULT)
    error = refusal(run_of()[0], plan, "")

    assert [line for line in error.details if "next:" in line] == [
        f"  next: {plans.BLOCKING.next_step}"
    ]
