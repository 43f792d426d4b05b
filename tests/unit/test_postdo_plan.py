"""Findings → verdict, for each rule and each answer of a policy."""

from __future__ import annotations

from dataclasses import replace

import plans
import pytest
from plans import DEFAULT, LONG, answering, kinds, locking, losing, swapping

from postdo.base.config import Answer, Rehearse
from postdo.plan.decide import decide
from postdo.plan.findings import Findings
from postdo.rehearsal.trace import Lock, Loss, Statement, Step

VERDICT_OF = {Answer.ALLOW: "go", Answer.ASK: "ask", Answer.REFUSE: "refuse"}
NOTHING_PENDING = plans.findings(pending=(), rehearsal=None, clashes=None)


# --- Each rule ------------------------------------------------------------------------------------


def test_nothing_pending_is_nothing_to_do() -> None:
    plan = decide(NOTHING_PENDING, DEFAULT)

    assert (plan.verdict, plan.mode, plan.reasons) == ("nothing", "", ())
    assert plan.line.startswith("nothing to do")


def test_drift_with_nothing_pending_is_told_and_stops_nothing() -> None:
    plan = decide(replace(NOTHING_PENDING, drift=(plans.ALARM, plans.HARMLESS)), DEFAULT)

    assert plan.verdict == "nothing"
    assert "1 place" in plan.line


@pytest.mark.parametrize("before", [plans.findings(), NOTHING_PENDING], ids=["pending", "none"])
def test_a_blocking_problem_refuses_with_its_own_words(before: Findings) -> None:
    plan = decide(replace(before, problems=(plans.BLOCKING, plans.REMARK)), DEFAULT)

    assert plan.verdict == "refuse"
    assert [reason.what for reason in plan.reasons] == [plans.BLOCKING.what]
    assert plan.reasons[0].next_step == plans.BLOCKING.next_step
    assert plan.reasons[0].details == plans.BLOCKING.details


def test_a_problem_that_does_not_block_stops_nothing() -> None:
    assert decide(plans.findings(problems=(plans.REMARK,)), DEFAULT).verdict == "go"


def test_what_worked_on_the_copy_goes_and_says_how() -> None:
    plan = decide(plans.findings(), DEFAULT)

    assert plan.line == "go: 3 migrations, no downtime, longest lock 0.1 s on shop_item"
    assert (plan.mode, plan.online, plan.reasons) == ("transaction", True, ())


CONCERNS: dict[str, tuple[str, Findings]] = {
    "a swap": ("downtime", swapping()),
    "a long lock": ("downtime", locking(LONG)),
    "a lost column": ("loss", losing(plans.COLUMN_LOSS)),
    "a lost table": ("loss", losing(Loss("table", plans.ITEM, "", 3))),
    "deleted rows": ("loss", losing(Loss("rows", plans.ITEM, "", 3))),
    "rounded values": ("loss", losing(Loss("rounded", plans.ITEM, "price", 3))),
    "drift that is touched": ("drift", plans.findings(drift=(plans.ALARM,))),
    "a clash": ("incompatible", plans.findings(clashes=(plans.CLASH,))),
}


@pytest.mark.parametrize("answer", list(Answer))
@pytest.mark.parametrize("concern", list(CONCERNS))
def test_the_policy_of_a_concern_decides(concern: str, answer: Answer) -> None:
    field, findings = CONCERNS[concern]
    plan = decide(findings, answering(field, answer))

    assert plan.verdict == VERDICT_OF[answer]
    assert kinds(plan) == ([] if answer is Answer.ALLOW else [field])
    assert all(reason.policy == f"ON_{field.upper()}" for reason in plan.reasons)
    assert all(reason.approvable is (answer is Answer.ASK) for reason in plan.reasons)


@pytest.mark.parametrize("concern", list(CONCERNS))
def test_what_a_policy_allows_is_still_told(concern: str) -> None:
    field, findings = CONCERNS[concern]
    plan = decide(findings, answering(field, Answer.ALLOW))

    assert any(f"ON_{field.upper()}=allow" in note for note in plan.notes)


@pytest.mark.parametrize("concern", list(CONCERNS))
@pytest.mark.parametrize("answer", [Answer.ASK, Answer.REFUSE])
def test_the_next_step_offers_an_approval_only_where_one_counts(
    concern: str, answer: Answer
) -> None:
    field, findings = CONCERNS[concern]
    (reason,) = decide(findings, answering(field, answer)).reasons

    assert (f"ON_{field.upper()}=ask" in reason.next_step) is (answer is Answer.REFUSE)
    assert "{" not in reason.next_step


def test_an_approval_line_names_the_loss_and_the_checksum() -> None:
    plan = decide(losing(plans.COLUMN_LOSS), DEFAULT)

    assert plan.line == (
        "ask: the migrations would delete column shop_item.note (1,204 values); "
        f"approve with --approve {plan.checksum}"
    )


def test_refusing_reasons_come_first_and_make_the_line() -> None:
    plan = decide(plans.everything(), DEFAULT)

    approvable = [reason.approvable for reason in plan.reasons]
    assert approvable == sorted(approvable)
    assert True in approvable
    assert plan.line.startswith(f"refuse: {plans.BLOCKING.what}; ")
    assert "--approve" not in plan.line


def test_two_reasons_to_ask_are_lifted_by_one_approval() -> None:
    both = replace(losing(plans.COLUMN_LOSS), clashes=(plans.CLASH,))
    plan = decide(both, DEFAULT)

    assert plan.verdict == "ask"
    assert sorted(kinds(plan)) == ["incompatible", "loss"]
    assert plan.headline == f"{plan.reasons[0].what}; 1 more reason"


# --- Downtime -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "unknown", [{"rehearsal": None, "empty": True}, {"rehearsal": plans.failed(plans.NULLS)}]
)
def test_what_was_not_seen_to_lock_anything_is_no_downtime(unknown: dict[str, object]) -> None:
    plan = decide(plans.findings(**unknown), DEFAULT)

    assert (plan.downtime_seconds, plan.online) == (0.0, None)


def test_a_swap_stops_the_site_for_the_copy_and_the_migrations() -> None:
    rehearsal = plans.rehearsal(
        plans.trace(seconds=7.5), mode="swap", copy_seconds=20.0, plain_seconds=9.0
    )
    plan = decide(plans.findings(rehearsal=rehearsal), DEFAULT)

    assert plan.downtime_seconds == 29.5
    assert (plan.verdict, plan.mode, plan.online) == ("ask", "swap", False)
    assert "30 s" in plan.line


@pytest.mark.parametrize("other", [{"copied_by": "base-backup"}, {"method": "schema"}])
def test_a_copy_made_in_another_way_does_not_tell_how_long_the_swaps_takes(
    other: dict[str, str],
) -> None:
    sizes = {"copy_seconds": 2.0, "plain_seconds": 9.0, "size_bytes": 6 * 10**9}
    rehearsal = plans.rehearsal(plans.trace(), mode="swap", **sizes, **other)
    plan = decide(plans.findings(rehearsal=rehearsal), DEFAULT)
    assert plan.downtime_seconds == 60 + 9 + 0.5


def test_in_a_swap_locks_are_no_further_reason() -> None:
    swap = plans.rehearsal(plans.trace(locks=(LONG,)), mode="swap")

    assert kinds(decide(plans.findings(rehearsal=swap), DEFAULT)) == ["downtime"]


@pytest.mark.parametrize("mode", plans.BLOCKING_MODES)
def test_a_lock_that_writers_wait_for_counts_as_downtime(mode: str) -> None:
    plan = decide(locking(replace(LONG, mode=mode), plans.BRIEF), DEFAULT)

    assert (plan.verdict, kinds(plan)) == ("ask", ["downtime"])
    assert (plan.downtime_seconds, plan.online) == (LONG.seconds, False)
    assert ("reads and writes" in plan.line) is (mode == "ACCESS EXCLUSIVE")


@pytest.mark.parametrize("mode", plans.HARMLESS_MODES)
def test_a_lock_that_nobody_waits_for_is_no_downtime(mode: str) -> None:
    plan = decide(locking(replace(LONG, mode=mode)), DEFAULT)

    assert (plan.verdict, plan.downtime_seconds, plan.online) == ("go", 0.0, True)


def test_a_lock_within_the_budget_is_online() -> None:
    plan = decide(locking(replace(LONG, seconds=DEFAULT.lock_seconds)), DEFAULT)

    assert (plan.verdict, plan.online) == ("go", True)


def test_whether_it_goes_online_is_unknown_if_nobody_knows_what_is_serving() -> None:
    plan = decide(plans.findings(clashes=None), DEFAULT)

    assert (plan.verdict, plan.online) == ("go", None)
    assert "goes on" not in plan.line


def test_a_clash_is_not_online_even_where_it_is_allowed() -> None:
    policies = replace(DEFAULT, incompatible=Answer.ALLOW)

    assert decide(plans.findings(clashes=(plans.CLASH,)), policies).online is False


# --- Drift ----------------------------------------------------------------------------------------


def test_drift_on_a_table_that_no_migration_touches_is_only_shown() -> None:
    plan = decide(plans.findings(drift=(plans.ELSEWHERE, plans.HARMLESS)), DEFAULT)

    assert (plan.verdict, plan.touched_drift) == ("go", ())


def test_a_harmless_difference_on_a_touched_table_stops_nothing() -> None:
    assert decide(plans.findings(drift=(plans.HARMLESS,)), DEFAULT).verdict == "go"


@pytest.mark.parametrize(
    ("mode", "touches"),
    [
        *((mode, True) for mode in (*plans.BLOCKING_MODES, "SHARE UPDATE EXCLUSIVE")),
        ("ROW EXCLUSIVE", False),
        ("ACCESS SHARE", False),
    ],
)
def test_a_table_is_touched_by_a_lock_that_changes_it(mode: str, touches: bool) -> None:
    trace = plans.trace(locks=(Lock(plans.ELSEWHERE.table, mode, 0.1),), altered=())
    changes = plans.findings(drift=(plans.ELSEWHERE,), rehearsal=plans.rehearsal(trace))
    plan = decide(changes, DEFAULT)

    assert plan.verdict == ("refuse" if touches else "go")
    assert plan.touched_drift == ((plans.ELSEWHERE,) if touches else ())


def test_a_table_whose_definition_is_changed_is_touched_whatever_was_locked() -> None:
    trace = plans.trace(locks=(), altered=(plans.ALARM.table,))
    changes = plans.findings(drift=(plans.ALARM, plans.ELSEWHERE), rehearsal=plans.rehearsal(trace))
    assert decide(changes, DEFAULT).touched_drift == (plans.ALARM,)


@pytest.mark.parametrize(
    ("sql", "touched"),
    [
        ('DROP TRIGGER IF EXISTS "noted" ON "public"."shop_item";', False),
        ("drop trigger noted on shop_item", False),
        ("DROP TRIGGER noted ON shop_item_tags", True),
        ("DROP TRIGGER noted_too ON shop_item", True),
        ("DROP POLICY noted ON shop_item", True),
    ],
)
def test_a_trigger_that_a_migration_drops_itself_is_in_no_way(sql: str, touched: bool) -> None:
    noted = replace(plans.ALARM, kind="trigger", name="noted")
    steps = (Step(plans.NOTE.name, 0.02, (Statement(sql, 0.01),), (), (), ()),)
    trace = replace(plans.trace(altered=(noted.table,)), steps=steps)
    changes = plans.findings(drift=(noted,), rehearsal=plans.rehearsal(trace))
    assert decide(changes, DEFAULT).touched_drift == ((noted,) if touched else ())


def test_without_a_rehearsal_any_table_may_be_touched() -> None:
    unrehearsed = plans.findings(drift=(plans.ELSEWHERE,), rehearsal=None, clashes=None)
    plan = decide(unrehearsed, replace(DEFAULT, rehearse=Rehearse.OFF))

    assert (plan.verdict, kinds(plan)) == ("refuse", ["drift"])


def test_what_packages_have_rewritten_since_does_not_count_at_the_first_look() -> None:
    first = plans.findings(drift=(plans.ALARM,), first_look=True)
    plan = decide(first, DEFAULT)
    assert (plan.verdict, plan.touched_drift) == ("go", ())
    assert any("is accepted as the baseline" in note for note in plan.notes)

    unrehearsed = replace(first, rehearsal=None, clashes=None)
    plan = decide(unrehearsed, replace(DEFAULT, rehearse=Rehearse.OFF))
    assert (plan.verdict, kinds(plan)) == ("refuse", ["drift"]), "nothing else has seen it"


def test_what_explains_the_drift_stands_with_it() -> None:
    explained = ("shop.0001_initial is recorded, but was not applied",)
    plan = decide(plans.findings(drift=(plans.ALARM,), explained=explained), DEFAULT)

    assert explained[0] in plan.reasons[0].details


def test_unknown_drift_is_told_and_stops_nothing() -> None:
    plan = decide(plans.findings(drift=None, drift_unknown="no journal"), DEFAULT)

    assert plan.verdict == "go"
    assert any("no journal" in note for note in plan.notes)
