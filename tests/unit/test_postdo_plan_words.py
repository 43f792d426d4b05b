"""The words of a plan: commands that a person can type, nothing twice, no word of a specialist."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import django
import plans
import pytest
from plans import DEFAULT, locking, losing

from postdo.base.config import Answer, Policies, read
from postdo.base.console import Console
from postdo.base.context import Run
from postdo.base.errors import Refused
from postdo.base.signals import StopSignals
from postdo.compatibility import expand_contract
from postdo.compatibility.compare import Clash
from postdo.compatibility.expand_contract import Place
from postdo.plan.approval import refusal, require_approval
from postdo.plan.decide import Plan, decide
from postdo.plan.findings import Findings
from postdo.rehearsal.trace import Lock
from postdo.report import html, text

IN_KIT = replace(DEFAULT, in_kit=True)
ALREADY_THERE = replace(plans.NULLS, sqlstate="42701")
NAMING_A_COMMAND = {
    "drift": plans.findings(drift=(plans.ALARM,)),
    "plan": plans.findings(clashes=(plans.CLASH,)),
    "drift, in a failure": plans.findings(rehearsal=plans.failed(ALREADY_THERE)),
}


def run_of(**environment: str) -> tuple[Run, io.StringIO]:
    out = io.StringIO()
    console = Console(out, io.StringIO())
    return Run(read(environment, "config.settings"), console, StopSignals()), out


@pytest.mark.parametrize("command", list(NAMING_A_COMMAND))
def test_a_remedy_names_the_command_that_is_there(command: str) -> None:
    findings, word = NAMING_A_COMMAND[command], command.partition(",")[0]

    (in_kit,) = decide(findings, IN_KIT).reasons
    (alone,) = decide(findings, DEFAULT).reasons

    assert f"`sh run.sh {word}`" in in_kit.next_step
    assert f"`postdo {word}`" in alone.next_step
    assert "{" not in in_kit.next_step + alone.next_step


def test_a_key_of_the_environment_is_set_in_env_where_there_is_one() -> None:
    findings = plans.findings(drift=(plans.ALARM,))

    assert "set ON_DRIFT=ask in .env, and" in decide(findings, IN_KIT).reasons[0].next_step
    assert "set ON_DRIFT=ask, and" in decide(findings, DEFAULT).reasons[0].next_step


def test_the_environment_of_the_kit_is_known_to_the_policies() -> None:
    assert run_of(POSTDO_MODE="production")[0].config.policies.in_kit
    assert not run_of()[0].config.policies.in_kit


def test_a_rehearsal_alone_names_the_command_that_is_there() -> None:
    failed = plans.failed(ALREADY_THERE)

    assert "`sh run.sh drift`" in " ".join(text.render_rehearsal(failed, in_kit=True).split())
    assert "`postdo drift`" in " ".join(text.render_rehearsal(failed).split())


# --- The gate -------------------------------------------------------------------------------------


def test_what_is_approved_is_said_without_how_to_approve_it() -> None:
    run, out = run_of()
    plan = decide(losing(plans.COLUMN_LOSS), DEFAULT)

    require_approval(run, plan, plan.checksum)

    assert out.getvalue() == (
        "postdo: approved: the migrations would delete column shop_item.note (1,204 values)\n"
    )


def words_of(plan: Plan, approval: str = "") -> list[str]:
    """What is printed of a refusal, in its order."""
    error: Refused = refusal(run_of()[0], plan, approval)
    return [error.what, *error.details, error.next_step]


@pytest.mark.parametrize(
    "findings",
    [losing(plans.COLUMN_LOSS), plans.findings(drift=(plans.ALARM,))],
    ids=["ask", "refuse"],
)
def test_a_single_reason_is_said_once(findings: Findings) -> None:
    plan = decide(findings, DEFAULT)
    (reason,) = plan.reasons

    said = "\n".join(words_of(plan))

    assert said.count(reason.what) == 1
    assert said.count(reason.next_step) == 1
    assert said.count(plan.checksum) == (1 if plan.verdict == "ask" else 0)


def test_an_approval_of_another_plan_says_the_reason_all_the_same() -> None:
    plan = decide(losing(plans.COLUMN_LOSS), DEFAULT)

    said = words_of(plan, "0123456789ab")

    assert "is for another plan" in said[0]
    assert plan.reasons[0].what in said


def test_of_several_reasons_each_has_its_remedy() -> None:
    plan = decide(replace(losing(plans.COLUMN_LOSS), clashes=(plans.CLASH,)), DEFAULT)

    said = words_of(plan)

    assert all(f"  next: {reason.next_step}" in said for reason in plan.reasons)


# --- The reports ----------------------------------------------------------------------------------


def test_both_reports_show_the_command_that_approves() -> None:
    plan = decide(losing(plans.COLUMN_LOSS), IN_KIT)
    command = f"sh run.sh -0 --approve {plan.checksum}"

    assert command in text.render(plan, approve=command)
    assert f"<code>{command}</code>" in html.render(plan, command)


def test_the_text_leaves_the_words_of_specialists_to_the_other_reports() -> None:
    words = "write-ahead log|at the end|post_migrate|online"

    assert not re.search(words, text.render(decide(plans.findings(), DEFAULT)))
    assert "write-ahead log" in html.render(decide(plans.findings(), DEFAULT))


def test_what_django_does_at_the_end_is_shown_if_somebody_waits_for_it() -> None:
    found = plans.trace()
    last = replace(found.steps[-1], locks=(Lock(plans.ITEM, "EXCLUSIVE", 3.0),))
    trace = replace(found, steps=(*found.steps[:-1], last))

    report = text.render_rehearsal(plans.rehearsal(trace))

    assert last.migration in report


@pytest.mark.parametrize("answer", list(Answer))
def test_nobody_is_called_serving_who_only_changed_the_schema_last(answer: Answer) -> None:
    findings = plans.findings(clashes=(plans.CLASH,), serving="1.4")
    report = " ".join(text.render(decide(findings, replace(DEFAULT, incompatible=answer))).split())

    assert "last release that changed the schema 1.4" in report
    assert "the running version (models of 1.4)" in report
    assert "now serving" not in report


REQUIRED = replace(
    plans.CLASH,
    what="column shop_item.note is new: NOT NULL without a default",
    breaks="writes",
    steps=expand_contract.add_not_null(expand_contract.Place("shop.Item", "shop_item", "note")),
)
MANY_STEPS = replace(
    plans.CLASH,
    steps=expand_contract.rename_column(
        expand_contract.Place("shop.Item", "shop_item", "note"), "n"
    ),
)


def refused(findings: Findings, policies: Policies) -> Refused:
    """What the gate says of a plan that has to be approved."""
    run, _ = run_of(POSTDO_MODE="production")
    return refusal(run, decide(findings, policies), "")


@pytest.mark.parametrize(
    ("clash", "remedy"),
    [(REQUIRED, 'a db_default (such as db_default=""'), (MANY_STEPS, 'db_column="note"')],
)
def test_the_refusal_of_an_incompatible_change_says_what_avoids_it_and_what_it_costs(
    clash: Clash, remedy: str
) -> None:
    policies = replace(DEFAULT, switch_seconds=7.6, in_kit=True)
    error = refused(plans.findings(clashes=(clash,)), policies)

    assert (
        f"would fail on the new schema until the switch, for about 7.6 s: {clash.what}"
        in error.what
    )
    assert remedy in error.next_step
    assert "accept errors (HTTP 500) until the switch, for about 7.6 s" in error.next_step
    assert re.search(r": sh run\.sh -0 --approve [0-9a-f]{12}$", error.next_step)
    assert error.next_step.index(remedy) < error.next_step.index("accept errors")
    assert not any("next: " in detail for detail in error.details), "it is said once"


def test_the_first_box_of_a_plan_says_what_avoids_an_incompatible_change() -> None:
    plan = decide(plans.findings(clashes=(REQUIRED,)), DEFAULT)
    report = " ".join(text.render(plan).split())
    first_box = report.partition("Pending: ")[0]

    assert "a db_default (such as" in first_box
    assert "would fail on the new schema until the switch: column" in first_box, (
        "no seconds that nobody measured"
    )
    assert "sh run.sh plan" not in first_box


# --- CONCURRENTLY ---------------------------------------------------------------------------------

INDEX = 'CREATE INDEX CONCURRENTLY "name_idx" ON "shop_item" ("name")'


def with_index(sql: str, lock: Lock) -> Plan:
    """A plan of one migration with this statement, which took this lock in the rehearsal."""
    pending = replace(plans.PRICE, name="shop.0009_index", sql=("-- Create index", sql))
    findings = locking(lock)
    assert findings.rehearsal is not None
    assert findings.rehearsal.trace is not None
    step = replace(plans.trace().steps[0], migration=pending.name, locks=(lock,))
    trace = replace(findings.rehearsal.trace, steps=(step,))
    return decide(
        replace(findings, pending=(pending,), rehearsal=replace(findings.rehearsal, trace=trace)),
        DEFAULT,
    )


def test_a_plan_says_that_an_index_is_made_without_concurrently_and_who_waits() -> None:
    plan = with_index(INDEX, Lock(plans.ITEM, "SHARE", 1.2))

    assert (
        "shop.0009_index runs without CONCURRENTLY, because the release is one transaction; "
        "writes to shop_item are blocked for 1.2 s"
    ) in plan.notes


@pytest.mark.parametrize("sql", [INDEX.replace(" CONCURRENTLY", ""), "-- not CONCURRENTLY"])
def test_who_did_not_ask_for_concurrently_is_told_nothing_of_it(sql: str) -> None:
    plan = with_index(sql, Lock(plans.ITEM, "SHARE", 1.2))

    assert not any("CONCURRENTLY" in note for note in plan.notes)


# --- The recipes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "steps"), [((4, 2), 2), ((5, 0), 1)])
def test_a_new_column_has_the_way_of_the_django_that_runs(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], steps: int
) -> None:
    monkeypatch.setattr(django, "VERSION", version)

    found = expand_contract.add_not_null(Place("shop.Item", "shop_item", "price"))

    assert len(found) == steps
    assert ("db_default" in found[0]) is (version >= (5, 0))
    assert "Django" not in "".join(found)


def test_where_there_is_a_choice_the_steps_say_so() -> None:
    place = Place("shop.Item", "shop_item", "name", "name")

    for steps in (
        expand_contract.rename_column(place, "title"),
        expand_contract.rename_table(place, "shop_thing"),
    ):
        assert steps[0].startswith("either ")
        assert steps[1].startswith("or")
