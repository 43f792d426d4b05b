"""What a reason shows of what was found: all of it, the gravest first, and nothing twice."""

from __future__ import annotations

from dataclasses import replace

import plans
import pytest
from plans import DEFAULT, LONG, locking, losing

from postdo.base.config import Answer
from postdo.plan import refusals
from postdo.plan.decide import decide
from postdo.plan.findings import Findings
from postdo.plan.refusals import Reason
from postdo.rehearsal.file_changes import FileChange
from postdo.rehearsal.trace import Failure, Lock, Loss

CART = "public.shop_cart"
LOSSES = (plans.COLUMN_LOSS, Loss("rows", CART, "", 31))
CLASHES = (plans.CLASH, replace(plans.CLASH, what="shop_item.price is required", breaks="writes"))
DRIFT = (plans.ALARM, replace(plans.ALARM, name="price", what="shop_item.price differs"))
FILES = (FileChange("media", "removed", ("a.txt",)), FileChange("up", "removed", ("b.txt",)))
SERVER = ("role app was made", "role web was dropped")


def only(findings: Findings) -> Reason:
    (reason,) = decide(findings, DEFAULT).reasons
    return reason


def of_rehearsal(**changes: object) -> Findings:
    return plans.findings(rehearsal=replace(plans.rehearsal(), **changes))  # type: ignore[arg-type]


# One of each, all of them, and what of each a person reads.
LISTS: dict[str, tuple[Findings, Findings, list[str]]] = {
    "losses": (
        losing(LOSSES[0]),
        losing(*LOSSES),
        [refusals.loss_sentence(loss) for loss in LOSSES],
    ),
    "clashes": (
        plans.findings(clashes=CLASHES[:1]),
        plans.findings(clashes=CLASHES),
        [f"{clash.what} (breaks {clash.breaks})" for clash in CLASHES],
    ),
    "drift": (
        plans.findings(drift=DRIFT[:1]),
        plans.findings(drift=DRIFT),
        [one.what for one in DRIFT],
    ),
    "files": (of_rehearsal(files=FILES[:1]), of_rehearsal(files=FILES), list(map(str, FILES))),
    "server": (of_rehearsal(server=SERVER[:1]), of_rehearsal(server=SERVER), list(SERVER)),
}


@pytest.mark.parametrize("kind", LISTS)
def test_one_thing_is_said_in_the_reason_and_of_more_all_stand_below_it(kind: str) -> None:
    one, all_of_them, sentences = LISTS[kind]

    alone = only(one)
    assert sentences[0] in alone.what
    assert "more" not in alone.what
    assert not alone.details

    several = only(all_of_them)
    assert f"{sentences[0]} and 1 more" in several.what
    assert list(several.details) == sentences


def test_the_gravest_loss_comes_first_and_of_equals_the_bigger_one() -> None:
    gravest_first = [
        Loss("table", CART, "", 1),
        Loss("column", CART, "b", 20),
        Loss("column", CART, "a", 3),
        Loss("column", CART, "c", 3),
        Loss("column", plans.ITEM, "a", 3),
        Loss("rounded", CART, "d", 900),
        Loss("rows", CART, "", 9000),
    ]
    nothing = Loss("table", plans.ITEM, "", 0)

    assert refusals.real([nothing, *reversed(gravest_first)]) == gravest_first


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("table", "delete table shop_item (3 rows)"),
        ("column", "delete column shop_item.note (3 values)"),
        ("rows", "delete 3 rows of shop_item"),
        ("rounded", "round or truncate shop_item.note (3 values)"),
    ],
)
def test_a_loss_is_counted_in_rows_or_in_values(kind: str, words: str) -> None:
    assert refusals.loss_sentence(Loss(kind, plans.ITEM, "note", 3)) == words


def test_a_rename_that_may_be_meant_is_offered_instead_of_the_loss() -> None:
    (offered,) = refusals.lost([plans.COLUMN_LOSS], ("write RenameField",), Answer.ASK)
    (alone,) = refusals.lost([plans.COLUMN_LOSS], (), Answer.ASK)

    assert offered.reason.next_step == alone.reason.next_step.replace(
        "remove this from the migrations", "write RenameField"
    )
    assert "write RenameField" in offered.reason.next_step


def test_every_lock_that_is_too_long_is_listed_the_longest_first() -> None:
    allowed = DEFAULT.lock_seconds
    longest = Lock(plans.ITEM, "ACCESS EXCLUSIVE", allowed + 3)
    locks = [
        Lock(CART, "SHARE", allowed + 1),
        Lock("public.a", "SHARE", allowed + 2),
        longest,
        Lock("public.b", "SHARE", allowed + 2),
        Lock("public.c", "SHARE", allowed),
        Lock("public.d", "ROW EXCLUSIVE", allowed + 9),
    ]
    reason = only(locking(*locks))

    assert [detail.partition(":")[0] for detail in reason.details] == [
        "shop_item",
        "a",
        "b",
        "shop_cart",
    ]
    assert "would block reads and writes of shop_item" in reason.what


def test_of_equally_long_locks_one_is_named_whatever_their_order() -> None:
    locks = (replace(LONG, table="public.a"), replace(LONG, table="public.b"))

    assert decide(locking(*locks), DEFAULT).line == decide(locking(*reversed(locks)), DEFAULT).line


# --- A failed rehearsal ---------------------------------------------------------------------------


def failures(*found: Failure) -> list[str]:
    plan = decide(plans.findings(rehearsal=plans.failed(*found)), DEFAULT)
    assert plan.verdict == "refuse"
    return [reason.what for reason in plan.reasons]


def test_what_fails_as_django_runs_it_is_the_cause_if_one_transaction_is_not_enough() -> None:
    single_only, plain = failures(plans.TWO_CONNECTIONS, plans.NULLS)

    assert plans.NULLS.what in single_only
    assert plans.TWO_CONNECTIONS.what in plain


def test_two_failures_stand_in_the_order_in_which_they_came_up() -> None:
    other = replace(plans.TWO_CONNECTIONS, single_only=False)

    assert [other.what in what for what in failures(other, plans.NULLS)] == [True, False]


def test_the_same_failure_is_said_once() -> None:
    assert len(failures(plans.NULLS, replace(plans.NULLS, statement="SELECT 1"))) == 1


def test_a_failure_that_left_no_word_is_one_all_the_same() -> None:
    assert len(failures()) == 1


def test_a_failure_shows_its_place_its_statement_and_its_rows() -> None:
    full = only(plans.findings(rehearsal=plans.failed(plans.NULLS)))
    rows = tuple(f"id={number}" for number in range(refusals.MOST_ROWS + 2))
    many = only(plans.findings(rehearsal=plans.failed(replace(plans.NULLS, rows=rows))))
    bare = only(
        plans.findings(
            rehearsal=plans.failed(
                replace(plans.NULLS, place="", statement="", rows=(), output=(), migration="")
            )
        )
    )

    assert full.details == (
        f"at {plans.NULLS.place}",
        f"SQL: {plans.NULLS.statement}",
        *(f"row: {row}" for row in plans.NULLS.rows),
        "output: Segmentation fault",
    )
    assert sum(detail.startswith("row: ") for detail in many.details) == refusals.MOST_ROWS
    assert not bare.details
    assert full.what.startswith("shop.0002_price ")
    assert bare.what.startswith("the migrations ")


def test_a_package_whose_migration_fails_on_the_rows_has_both_remedies() -> None:
    theirs = {"pending": (plans.STOCK,)}
    of_rows = replace(plans.NULLS, migration=plans.STOCK.name)
    of_code = replace(of_rows, sqlstate="")

    rows, code, own = (
        only(plans.findings(rehearsal=plans.failed(failure), **more)).next_step
        for failure, more in ((of_rows, theirs), (of_code, theirs), (plans.NULLS, {}))
    )
    assert code in rows
    assert rows.startswith(own)
    assert code != rows


def test_a_swap_says_why_it_is_one() -> None:
    reason = only(plans.swapping())
    without = only(plans.findings(rehearsal=plans.rehearsal(mode="swap")))

    assert len(reason.details) == 1
    assert plans.TWO_CONNECTIONS.what in reason.details[0]
    assert not without.details


def test_files_of_a_rehearsal_that_failed_are_no_further_reason() -> None:
    failed = replace(plans.failed(plans.NULLS), files=FILES)

    assert plans.kinds(decide(plans.findings(rehearsal=failed), DEFAULT)) == ["rehearsal"]


# --- Drift and compatibility ----------------------------------------------------------------------


def test_what_depends_on_a_column_can_be_dropped_and_made_again_only_if_both_are_known() -> None:
    view = replace(plans.ALARM, kind="view", name="shop_item", sql=("DROP VIEW v",))
    known = replace(view, again=("CREATE VIEW v", "GRANT SELECT ON v TO w"))

    assert only(plans.findings(drift=(known,))).details == (
        "before the release: DROP VIEW v",
        "after the release: CREATE VIEW v GRANT SELECT ON v TO w",
    )
    for unknown in (view, replace(known, sql=())):
        assert not only(plans.findings(drift=(unknown,))).details


def test_a_view_that_somebody_made_is_in_no_way_of_what_succeeded_with_it() -> None:
    view = replace(plans.ALARM, kind="view", name="report")

    assert decide(plans.findings(drift=(view,)), DEFAULT).verdict == "go"


def test_where_nobody_knows_which_tables_change_the_database_is_named() -> None:
    some = only(plans.findings(drift=(plans.ALARM,)))
    any_of_them = refusals.drifted((plans.ALARM,), (), None, Answer.REFUSE)[0].reason

    assert some.what != any_of_them.what
    assert any_of_them.what.startswith("schema drift: ")


def test_the_release_that_is_serving_is_named_if_it_is_known() -> None:
    named, unnamed = (
        only(plans.findings(clashes=(plans.CLASH,), serving=serving)).what
        for serving in ("1.4", "")
    )

    assert "1.4" in named
    assert unnamed.startswith("the running version would ")


def test_the_steps_that_avoid_a_clash_are_shown_as_far_as_they_fit() -> None:
    short = replace(plans.CLASH, steps=("use db_default",))
    cases = {
        "one, in one step": ((short,), True, False),
        "one, in several": ((plans.CLASH,), True, True),
        "several, the first in one step": ((short, plans.CLASH), True, True),
        "nobody knows how": ((replace(plans.CLASH, steps=()),), False, True),
    }
    for case, (clashes, has_step, points_to_the_plan) in cases.items():
        said = only(plans.findings(clashes=clashes)).next_step
        first = clashes[0].steps[0] if clashes[0].steps else "use db_default"
        assert (first in said) is has_step, case
        assert ("`postdo plan`" in said) is points_to_the_plan, case
