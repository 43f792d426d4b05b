"""When a rehearsal may stand for another one: what has to be as it was, and what is never kept.

The journal here is a dictionary; tests/unit/test_postdo_kept.py has the real one, and real rows.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import plans
import pytest
from plans import DEFAULT
from test_postdo_plan_words import run_of

from postdo.django_migrations import check_cache
from postdo.plan import kept
from postdo.plan.decide import Plan, decide
from postdo.plan.kept import Approved, Circumstances
from postdo.rehearsal.data_loss import Uncounted
from postdo.rehearsal.file_changes import FileChange
from postdo.rehearsal.rehearse import Rehearsal
from postdo.rehearsal.row_counts import Table
from postdo.rehearsal.trace import Effect, Lock, Loss, Statement, Step
from postdo.rehearsal.tracer import LONGEST_STATEMENT, MOST_STATEMENTS

THEN = Circumstances(
    {"sources": "a", "django": "5.2"}, "1 since 2", "s", (Table("public.shop_item", 5000, 7000),)
)
TOUCHED = frozenset({"public.shop_item"})
ATOMIC = (plans.PRICE, plans.STOCK)


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (THEN, ""),
        (replace(THEN, database="1 since 3"), "restarted"),
        (
            replace(THEN, code={"sources": "a", "django": "5.3"}),
            "version of Python, postdo or a package",
        ),
        (replace(THEN, code={"sources": "a"}), "version of Python, postdo or a package"),
        (
            replace(THEN, code={**THEN.code, "policies": "x"}),
            "the rehearsal settings in .env changed",
        ),
        (replace(THEN, tables=(Table("public.shop_item", 5000, 7500),)), ""),
        (replace(THEN, tables=(Table("public.shop_item", 5000, 7501),)), "many rows"),
        (replace(THEN, tables=(Table("public.shop_item", 0, 3),)), "many rows"),
        (replace(THEN, tables=(Table("public.shop_item", 5000, 6999),)), "many rows"),
        (replace(THEN, code={**THEN.code, "settings": "x"}), "settings changed"),
        (replace(THEN, code={**THEN.code, "sources": "b"}), "project files changed"),
        (replace(THEN, schema="t"), "the schema changed"),
        (replace(THEN, tables=(*THEN.tables, Table("public.log", 0, 9000))), ""),
    ],
)
def test_what_may_differ_and_what_may_not(now: Circumstances, says: str) -> None:
    found = kept.difference(THEN, now, 60.0, TOUCHED)
    assert says in found
    assert bool(says) is bool(found)


def kept_step(sql: str, *, rewrites: tuple[str, ...] = (plans.ITEM,), count: int = 1) -> Rehearsal:
    step = Step("shop.0002", 0.1, (Statement(sql, 0.1),) * count, (), rewrites, ())
    return plans.rehearsal(replace(plans.trace(losses=(plans.COLUMN_LOSS,)), steps=(step,)))


@pytest.mark.parametrize(
    ("rehearsal", "is_kept"),
    [
        (kept_step("ALTER TABLE shop_item ALTER price TYPE bigint"), True),
        (kept_step("SELECT truncate_by_name('x')", rewrites=()), True),
        (kept_step("TRUNCATE shop_item"), False),  # PostgreSQL counts no rows of it
        (kept_step("INSERT INTO " + "x" * 2000), False),  # it may end in a TRUNCATE
        (kept_step("SELECT 1", count=200), False),  # and what came after them is not known
        (replace(kept_step("SELECT 1"), method="schema"), False),
        (replace(kept_step("SELECT 1"), mode="swap"), False),
        (replace(kept_step("SELECT 1"), outside=("mail to 3 recipients",)), False),
        (replace(kept_step("SELECT 1"), files=(FileChange("up", "removed", ("a",)),)), False),
        (replace(kept_step("SELECT 1"), server=("role x",)), False),
    ],
)
def test_what_the_comparison_before_commit_cannot_see_is_never_kept(
    rehearsal: Rehearsal, is_kept: bool
) -> None:
    plan = decide(plans.findings(rehearsal=rehearsal, pending=ATOMIC), plans.DEFAULT)
    assert kept.is_told_by_its_end(plan, rehearsal) is is_kept


@pytest.mark.parametrize(("lost", "is_kept"), [(31, True), (30, False), (0, False)])
def test_a_deletion_that_a_savepoint_took_back_is_rehearsed_each_time(
    lost: int, is_kept: bool
) -> None:
    losses = (plans.COLUMN_LOSS, *([Loss("rows", plans.ITEM, "", lost)] if lost else []))
    seen = replace(plans.trace(losses=losses), effects=(Effect(plans.ITEM, 0, 0, 31),))
    plan = decide(plans.findings(rehearsal=plans.rehearsal(seen), pending=ATOMIC), plans.DEFAULT)
    assert kept.is_told_by_its_end(plan, plans.rehearsal(seen)) is is_kept


def test_a_migration_that_is_not_atomic_is_rehearsed_each_time() -> None:
    rehearsal = kept_step("SELECT 1")
    pending = (replace(plans.PRICE, atomic=False), plans.NOTE)
    plan = decide(plans.findings(rehearsal=rehearsal, pending=pending), plans.DEFAULT)
    assert not kept.is_told_by_its_end(plan, rehearsal)


def test_what_is_kept_is_read_as_it_was_written() -> None:
    rehearsal = replace(
        kept_step("SELECT 1"),
        tables=THEN.tables,
        countable=(Uncounted("column", plans.ITEM, "note", "SELECT 1", 3),),
        left_out=("postgis",),
    )
    assert kept.from_text(kept.to_text(THEN, rehearsal)) == (THEN, rehearsal)
    for damaged in ("", "{}", "[]", '{"then": {}, "rehearsal": {}}'):
        with pytest.raises((ValueError, LookupError, TypeError)):
            kept.from_text(damaged)


@pytest.mark.parametrize(
    ("rows", "changed", "is_busy"),
    [(0, 100, False), (0, 101, True), (1000, 100, False), (1000, 101, True), (1010, 101, False)],
)
def test_of_a_small_table_a_hundred_rows_may_change_and_of_a_big_one_a_tenth(
    rows: int, changed: int, is_busy: bool
) -> None:
    then = replace(THEN, tables=(Table("public.shop_item", rows, 7),))
    now = replace(THEN, tables=(Table("public.shop_item", rows, 7 + changed),))

    assert bool(kept.difference(then, now, 60.0, TOUCHED)) is is_busy


@pytest.mark.parametrize(("changed", "is_busy"), [(100, False), (101, True)])
def test_a_table_that_was_not_there_had_no_rows(changed: int, is_busy: bool) -> None:
    now = replace(THEN, tables=(*THEN.tables, Table("public.new", 9000, changed)))

    assert bool(kept.difference(THEN, now, 60.0, TOUCHED | {"public.new"})) is is_busy


def test_a_rehearsal_of_an_hour_ago_is_the_oldest_that_counts() -> None:
    assert not kept.difference(THEN, THEN, kept.MOST_SECONDS, TOUCHED)
    assert "60 min old" in kept.difference(THEN, THEN, kept.MOST_SECONDS + 1, TOUCHED)


def test_what_was_told_then_and_is_not_now_differs_and_the_other_way_round() -> None:
    more = replace(THEN, code={**THEN.code, "all settings": "x"})

    assert kept.difference(THEN, more, 60.0, TOUCHED) == "the settings changed"
    assert kept.difference(more, THEN, 60.0, TOUCHED) == "the settings changed"


def is_kept(rehearsal: Rehearsal) -> bool:
    plan = decide(plans.findings(rehearsal=rehearsal, pending=ATOMIC), DEFAULT)
    return kept.is_told_by_its_end(plan, rehearsal)


def test_statements_count_as_cut_off_only_from_where_they_are() -> None:
    assert is_kept(kept_step("x" * (LONGEST_STATEMENT - 1)))
    assert not is_kept(kept_step("x" * LONGEST_STATEMENT))
    assert is_kept(kept_step("SELECT 1", count=MOST_STATEMENTS - 1))
    assert not is_kept(kept_step("SELECT 1", count=MOST_STATEMENTS))
    assert not is_kept(replace(kept_step("SELECT 1"), trace=None))


def test_a_truncate_counts_in_whichever_step_the_table_is_written_anew() -> None:
    one = kept_step("TRUNCATE shop_item", rewrites=())
    assert one.trace is not None
    (step,) = one.trace.steps
    rewriting = replace(step, statements=(), rewrites=(plans.ITEM,))

    assert is_kept(one)
    assert not is_kept(replace(one, trace=replace(one.trace, steps=(step, rewriting))))


# --- Kept, and taken ------------------------------------------------------------------------------

CODE = {"sources": "a"}
LOSING = replace(
    kept_step("ALTER TABLE shop_item DROP note"),
    tables=THEN.tables,
    countable=(Uncounted("column", plans.ITEM, "note", "SELECT 1", 3),),
)
ASK = decide(plans.findings(rehearsal=LOSING, pending=ATOMIC), DEFAULT)
APPROVED = Approved(ASK.checksum, CODE)
SCHEMA: Any = SimpleNamespace(checksum="s")


class Journal(dict[str, str]):
    """Keeps rehearsals for as long as the test. ``age``: of each, in seconds."""

    age = 60.0

    def keep_rehearsal(self, checksum: str, text: str) -> None:
        self[checksum] = text

    def rehearsal(self, checksum: str, *, take: bool) -> tuple[str, float] | None:
        text = self.pop(checksum, None) if take else self.get(checksum)
        return None if text is None else (text, self.age)


class World:
    """What a rehearsal is compared with: ``subject``, and what the database would say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run, self.out = run_of()
        self.journal = Journal()
        self.subject: Any = SimpleNamespace(run=self.run, journal=self.journal, session=None)
        self.tables = THEN.tables
        self.counted: tuple[Loss, ...] | None = (replace(plans.COLUMN_LOSS, count=7),)
        monkeypatch.setattr(kept, "read", lambda _: SCHEMA)
        self.database = THEN.database
        monkeypatch.setattr(kept, "rows", lambda *_: [(self.database,)])
        monkeypatch.setattr(kept, "tables", lambda _: self.tables)
        monkeypatch.setattr(kept, "count_anew", lambda *_: self.counted)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


REFUSED = decide(plans.findings(rehearsal=LOSING, problems=(plans.BLOCKING,)), DEFAULT)
GO = decide(plans.findings(rehearsal=plans.rehearsal(), pending=ATOMIC), DEFAULT)
SWAP = decide(plans.findings(rehearsal=replace(LOSING, mode="swap"), pending=ATOMIC), DEFAULT)
UNREHEARSED = replace(ASK, findings=replace(ASK.findings, rehearsal=None))


@pytest.mark.parametrize(
    ("plan", "code", "is_kept"),
    [
        (ASK, CODE, True),
        (ASK, {}, False),
        (REFUSED, CODE, False),
        (GO, CODE, False),
        (SWAP, CODE, False),
        (UNREHEARSED, CODE, False),
    ],
)
def test_only_what_an_approval_alone_is_wanted_for_is_kept(
    world: World, plan: Plan, code: dict[str, str], is_kept: bool
) -> None:
    kept.keep(world.subject, plan, code, SCHEMA)

    assert list(world.journal) == ([plan.checksum] if is_kept else [])


def test_it_is_taken_once_with_the_losses_of_now(world: World) -> None:
    deleted = Loss("rows", plans.ITEM, "", 31)
    assert LOSING.trace is not None
    trace = replace(LOSING.trace, losses=(*LOSING.trace.losses, deleted), effects=())
    trace = replace(trace, effects=(Effect(plans.ITEM, 0, 0, 31),))
    plan = replace(ASK, findings=replace(ASK.findings, rehearsal=replace(LOSING, trace=trace)))
    kept.keep(world.subject, plan, CODE, SCHEMA)

    assert kept.is_usable(world.subject, APPROVED)
    assert world.journal, "who only asks takes nothing"
    found = kept.take(world.subject, APPROVED)
    assert found is not None
    assert found.trace is not None
    assert world.counted is not None
    assert found.trace.losses == (*world.counted, deleted)
    assert found.reused
    assert "rehearsal from 60 s ago" in world.out.getvalue()

    assert not kept.is_usable(world.subject, APPROVED)
    assert kept.take(world.subject, APPROVED) is None
    assert "again" not in world.out.getvalue().partition("reusing the rehearsal")[2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("database", "restarted"),
        ("age", "old"),
        ("text", "cannot be read"),
        ("tables", "many rows of shop_item changed"),
        ("counted", "cannot be counted"),
    ],
)
def test_what_is_of_no_use_is_said_and_gone(world: World, change: str, says: str) -> None:
    kept.keep(world.subject, ASK, CODE, SCHEMA)
    if change == "age":
        world.journal.age = 4000.0
    elif change == "database":
        world.database = "1 since 3"
    elif change == "text":
        world.journal[ASK.checksum] = "{}"
    elif change == "tables":
        world.tables = (Table("public.shop_item", 5000, 9000),)
    else:
        world.counted = None

    assert not kept.is_usable(world.subject, APPROVED)
    assert world.out.getvalue() == ""
    assert kept.take(world.subject, APPROVED) is None
    assert world.out.getvalue().startswith("postdo: rehearsing again: ")
    assert says in world.out.getvalue()
    assert not world.journal


@pytest.mark.parametrize(
    "touching",
    [
        {"locks": (Lock("public.log", "SHARE", 0.1),)},
        {"effects": (Effect("public.log", 1, 0, 0),)},
        {"losses": (Loss("column", "public.log", "a", 1),)},
        {},
    ],
    ids=["locked", "changed", "lost", "not touched"],
)
def test_rows_count_of_every_table_that_is_touched(world: World, touching: dict[str, Any]) -> None:
    assert LOSING.trace is not None
    trace = replace(LOSING.trace, **touching)
    plan = replace(ASK, findings=replace(ASK.findings, rehearsal=replace(LOSING, trace=trace)))
    kept.keep(world.subject, plan, CODE, SCHEMA)
    world.tables = (*THEN.tables, Table("public.log", 0, 9000))

    assert kept.is_usable(world.subject, APPROVED) is not bool(touching)


# --- What a rehearsal depends on outside of the database ------------------------------------------


PROJECT: Any = None  # nothing of it is looked at


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_cache, "fingerprint", lambda _: {"sources": 1, "django": (5, 2)})
    monkeypatch.setattr(check_cache, "other_files", lambda *_: "files")
    monkeypatch.setattr(kept, "settings", SimpleNamespace(DEBUG=False))


@pytest.mark.usefixtures("code")
def test_nothing_is_looked_up_without_an_approval_or_where_none_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = run_of()[0]
    found = kept.approved(run, PROJECT, "abc")
    assert found is not None
    assert found.checksum == "abc"
    assert found.code.keys() == {"sources", "django", "all settings", "other files", "policies"}
    assert found.code["sources"] == "1"

    assert kept.approved(run, PROJECT, "") is None
    assert kept.code_of(run_of(REHEARSE="schema")[0], PROJECT) == {}
    monkeypatch.delattr(check_cache, "other_files")
    assert kept.code_of(run, PROJECT) == {}
    assert kept.approved(run, PROJECT, "abc") is None


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize(
    "environment", [{"REHEARSE_NETWORK": "allow"}, {"REHEARSE_NETWORK": "redis:6379"}]
)
def test_the_keys_that_decide_over_rehearsals_are_part_of_it(environment: dict[str, str]) -> None:
    one, other = (kept.code_of(run_of(**keys)[0], PROJECT) for keys in ({}, environment))

    assert [part for part in one if one[part] != other[part]] == ["policies"]


class Named:
    """Python shows where it is in memory, in each process somewhere else."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __repr__(self) -> str:
        return f"<Named at {self.address}>"


def settings_of(monkeypatch: pytest.MonkeyPatch, **values: object) -> str:
    monkeypatch.setattr(kept, "settings", SimpleNamespace(**values))
    return kept.code_of(run_of()[0], PROJECT)["all settings"]


@pytest.mark.usefixtures("code")
def test_settings_differ_by_their_values_and_not_by_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = {
        "A": [{"hosts": {"a", "b"}}],
        "B": (frozenset({"c"}), Named("0x7f01")),
        "C": "shop",
        "c": 1,
    }
    digest = settings_of(monkeypatch, **usual)

    class Reversed(set[str]):
        def __iter__(self) -> Any:
            return iter(sorted(super().__iter__(), reverse=True))

        def __repr__(self) -> str:
            return "in another order"

    same = [
        usual | {"B": (frozenset({"c"}), Named("0x7fff"))},
        usual | {"c": 2},
        usual | {"A": [{"hosts": Reversed({"a", "b"})}]},
    ]
    other = [
        usual | {"A": [{"hosts": {"a"}}]},
        usual | {"A": [{"names": {"a", "b"}}]},
        usual | {"B": (frozenset({"d"}), Named("0x7f01"))},
        usual | {"C": "other"},
        usual | {"D": 1},
    ]
    assert {settings_of(monkeypatch, **values) for values in same} == {digest}
    assert digest not in {settings_of(monkeypatch, **values) for values in other}


@pytest.mark.usefixtures("code")
def test_a_setting_that_django_will_drop_is_read_without_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Settings:
        @property
        def OLD(self) -> int:  # noqa: N802
            warnings.warn("it goes", DeprecationWarning, stacklevel=2)
            return 1

    monkeypatch.setattr(kept, "settings", Settings())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kept.code_of(run_of()[0], PROJECT)
