"""Which SQL against drift is shown: what removed its difference on a copy, and made no other one.

The copy is a list of differences here, and a statement says what it does to that list. On a real
copy: tests/hazards/test_drift.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError

from postdo.base.config import Rehearse
from postdo.base.errors import Refused
from postdo.drift import try_repair
from postdo.schema.catalogue import Catalogue, Entry
from postdo.schema.diff import Difference
from postdo.schema.repair_tables import DELETES
from postdo.schema.repair_views import create_index

ITEM = "public.shop_item"
Found = tuple[Difference, ...]


def column(name: str, *sql: str, alarm: bool = True, again: tuple[str, ...] = ()) -> Difference:
    return Difference("column", ITEM, name, f"{name} differs", alarm, sql, again)


PRICE = column("price", "BEGIN;", "mend price", "COMMIT;")
WEIGHT = column("weight", "BEGIN;", "mend weight", "COMMIT;")


class Copy:
    """A copy of the database, which has these differences. ``ran``: what it was asked to do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: Found = ()
        self.does: dict[str, Callable[[], object]] = {}
        self.ran: list[str] = []
        self.values = {"price": "11", "weight": "22"}
        self.objects = {"shop_item": 1, "shop_cheap": 2}
        self.saved: list[tuple[Found, dict[str, str], dict[str, int]]] = []
        self.has_room = True
        self.copied: list[bool] = []
        self.failure: Any = None
        self.indexes: list[Entry] = []
        verify = SimpleNamespace(
            objects=lambda _: dict(self.objects),
            rights=lambda _, names: tuple(f"give {name}" for name in sorted(names)),
        )
        backup = SimpleNamespace(check_room=self.check_room, copy=self.copy)
        schema = SimpleNamespace(of=lambda _: self.indexes)
        for name, fake in {
            "rows": self.rows,
            "read": lambda _: schema,
            "worded": lambda *_: None,
            "compare": lambda *_: self.left,
            "verify_copy": verify,
            "backup": backup,
            "connect_to": lambda *_: SimpleNamespace(close=lambda: None),
            "closing": self.closing,
            "scratch_database": self.scratch,
            "work": lambda _, job: self.worked(job),
        }.items():
            monkeypatch.setattr(try_repair, name, fake)
        self.said: list[str] = []
        self.jobs: list[Any] = []
        self.policies = SimpleNamespace(rehearse=Rehearse.FULL, rehearse_seconds=60, memory_mb=512)
        config = SimpleNamespace(policies=self.policies, host="here")
        run = SimpleNamespace(console=SimpleNamespace(say=self.said.append), config=config)
        run.without_backups = lambda: run
        self.subject: Any = SimpleNamespace(run=run, session="real")

    def check_room(self, *_: object, schema_only: bool) -> None:
        if not schema_only and not self.has_room:
            raise Refused("the disk is full", "free some space")

    def copy(self, *_: object, schema_only: bool) -> None:
        self.copied.append(schema_only)

    @contextmanager
    def closing(self, there: Any) -> Iterator[Any]:
        yield there

    @contextmanager
    def scratch(self, *_: object) -> Iterator[str]:
        yield "scratch"

    def worked(self, job: Any) -> Any:
        self.jobs.append(job)
        return SimpleNamespace(failure=self.failure)

    def rows(self, _: object, statement: str, *given: object) -> list[tuple[Any, ...]]:
        self.ran.append(statement)
        if statement in ("BEGIN", "SAVEPOINT back"):
            self.saved.append((self.left, dict(self.values), dict(self.objects)))
        elif statement.startswith("ROLLBACK"):
            self.left, self.values, self.objects = self.saved.pop()
        elif statement == "COMMIT":
            self.saved.pop()
        elif statement == try_repair.COLUMNS:
            return [(name,) for name in sorted(self.values)]
        elif statement.startswith("SELECT sum"):
            return [tuple(self.values[name] for name in sorted(self.values))]
        elif statement == "SELECT current_database()":
            return [("scratch",)]
        elif statement in self.does:
            self.does[statement]()
        return []

    def removes(self, *names: str, adds: Found = ()) -> Callable[[], None]:
        """What a statement does: without the differences of these names, with those."""

        def do() -> None:
            self.left = (*(one for one in self.left if one.name not in names), *adds)

        return do

    def tried(self, *differences: Difference) -> Found:
        """What is shown, if the copy has these differences and no other."""
        self.left = differences
        return try_repair.tried(self.subject, differences, Catalogue(17, ()))


def fails() -> None:
    raise DatabaseError("ERROR: there are rows")


@pytest.fixture
def copy(monkeypatch: pytest.MonkeyPatch) -> Copy:
    return Copy(monkeypatch)


def test_sql_that_removes_its_difference_is_shown_in_a_transaction_and_undone(copy: Copy) -> None:
    copy.does = {"mend price": copy.removes("price"), "mend weight": copy.removes("weight")}
    told = column("colour")
    assert copy.tried(PRICE, told, WEIGHT) == (PRICE, told, WEIGHT)
    assert copy.left == (PRICE, told, WEIGHT), "each is tried alone"
    assert copy.ran.count("BEGIN") == copy.ran.count("ROLLBACK") == 2
    assert copy.ran.count("SET CONSTRAINTS ALL IMMEDIATE") == 4
    assert not copy.saved


def test_sql_that_fails_on_the_rows_is_replaced_by_the_reason(copy: Copy) -> None:
    copy.does = {"mend price": fails}
    (found,) = copy.tried(replace(PRICE, again=("make price",)))
    assert (found.sql, found.again) == ((), ())
    assert found.why == "the repair failed on a copy: ERROR: there are rows"
    assert not copy.saved


def test_sql_that_leaves_its_difference_is_not_shown(copy: Copy) -> None:
    (found,) = copy.tried(replace(PRICE, again=("make price",)))
    assert (found.sql, found.again) == ((), ())
    assert found.why == "the repair left this difference"
    assert not copy.saved


def test_of_two_differences_at_one_object_one_may_be_left(copy: Copy) -> None:
    other = replace(PRICE, what="price has another default", sql=())

    def first() -> None:
        copy.left = tuple(one for one in copy.left if one.what != PRICE.what)

    copy.does = {"mend price": first}
    assert copy.tried(PRICE, other) == (PRICE, other)


def test_what_the_copy_does_not_have_is_no_reason_to_hide_its_sql(copy: Copy) -> None:
    """An index that is invalid, and could be made on the rows of the copy."""
    assert try_repair.tried(copy.subject, (PRICE,), Catalogue(17, ())) == (PRICE,)


def test_sql_that_causes_another_alarm_is_not_shown_and_information_is_none(copy: Copy) -> None:
    copy.does = {"mend price": copy.removes("price", adds=(WEIGHT,))}
    (found,) = copy.tried(PRICE)
    assert (found.sql, found.why) == ((), "the repair caused another difference")
    assert not copy.saved

    copy.does = {"mend price": copy.removes("price", adds=(replace(WEIGHT, alarm=False),))}
    assert copy.tried(PRICE) == (PRICE,)


def test_what_works_only_after_another_says_so(copy: Copy) -> None:
    def after() -> None:
        if any(one.name == "price" for one in copy.left):
            fails()
        copy.removes("weight")()

    copy.does = {"mend price": copy.removes("price"), "mend weight": after}
    first, second = copy.tried(PRICE, WEIGHT)
    assert first == PRICE
    assert second == replace(WEIGHT, what="weight differs (after those above)")
    assert copy.ran.count("COMMIT") == 2


def test_what_fails_also_after_the_others_keeps_its_first_reason(copy: Copy) -> None:
    copy.does = {"mend price": copy.removes("price"), "mend weight": fails}
    untried = column("colour")
    first, told, second = copy.tried(PRICE, untried, WEIGHT)
    assert (first, told) == (PRICE, untried)
    assert (second.what, second.sql) == (WEIGHT.what, ())
    assert copy.ran.count("BEGIN") == 4

    # One that is gone with another is not tried again: it would have nothing to do.
    copy.ran.clear()
    copy.does = {"mend price": copy.removes("price", "weight"), "mend weight": fails}
    copy.tried(PRICE, WEIGHT)
    assert copy.ran.count("BEGIN") == 3


def test_changed_values_are_told_but_where_the_sql_says_that_it_deletes(copy: Copy) -> None:
    def change() -> None:
        copy.removes("price")()
        copy.values["weight"] = "23"

    copy.does = {"mend price": change, f"{DELETES}mend price": change}
    (found,) = copy.tried(PRICE)
    assert found.sql == ("-- this changes values of weight\nBEGIN;", "mend price", "COMMIT;")
    deletes = column("price", f"{DELETES}mend price", "make the view")
    (found,) = copy.tried(deletes)
    assert found.sql == ("BEGIN;", f"{DELETES}mend price", "make the view", "COMMIT;")

    def drop() -> None:
        copy.removes("price")()
        del copy.values["price"]

    copy.does = {"mend price": drop}
    assert copy.tried(PRICE) == (PRICE,), "a column that is gone has no values"


def test_what_has_no_table_has_no_values(copy: Copy) -> None:
    view = Difference("function", "", "public.cheap()", "is missing", True, ("mend",))
    copy.does = {"mend": copy.removes("public.cheap()")}
    (found,) = copy.tried(view)
    assert found.sql == ("BEGIN;", "mend", "COMMIT;")
    assert try_repair.COLUMNS not in copy.ran


def test_what_makes_it_again_is_shown_only_if_the_copy_is_then_as_it_was(copy: Copy) -> None:
    extra = replace(PRICE, again=("BEGIN;", "make price", "COMMIT;"))
    back: dict[str, Callable[[], object]] = {"mend price": copy.removes("price")}

    copy.does = back | {"make price": copy.removes("price", adds=(extra,))}
    assert copy.tried(extra) == (extra,)
    assert copy.left == (extra,)

    copy.does = back
    assert copy.tried(extra) == (replace(extra, again=()),)
    copy.does = back | {"make price": fails}
    assert copy.tried(extra) == (replace(extra, again=()),)
    assert not copy.saved


def test_what_is_made_anew_gets_its_owner_and_privileges_back(copy: Copy) -> None:
    def again() -> None:
        copy.removes("price")()
        copy.objects |= {"shop_cheap": 3, "by_hand": 4}

    copy.does = {"mend price": again}
    (found,) = copy.tried(PRICE)
    assert found.sql == ("BEGIN;", "mend price", "give shop_cheap", "COMMIT;")
    assert "give shop_cheap" in copy.ran

    copy.does = {"mend price": copy.removes("price"), "give shop_cheap": fails}
    assert copy.tried(PRICE) == (PRICE,)


@pytest.mark.parametrize(
    ("policy", "has_room", "with_rows"),
    [(Rehearse.FULL, True, True), (Rehearse.SCHEMA, True, False), (Rehearse.FULL, False, False)],
)
def test_the_copy_has_rows_if_the_policy_and_the_disk_allow_it(
    copy: Copy, policy: Rehearse, has_room: bool, with_rows: bool
) -> None:
    copy.policies.rehearse, copy.has_room = policy, has_room
    copy.tried(PRICE)
    assert copy.copied == [not with_rows]
    how = "a copy of the database" if with_rows else "a copy of the schema, without rows"
    assert copy.said == [f"testing the SQL that removes the differences on {how}"]


def test_without_sql_there_is_no_copy_and_without_a_copy_no_sql(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = column("colour")
    assert copy.tried(told) == (told,)
    assert copy.copied == []

    @contextmanager
    def none(*_: object) -> Iterator[str]:
        raise Refused("no database can be created", "grant CREATEDB")
        yield ""

    monkeypatch.setattr(try_repair, "scratch_database", none)
    first, second = copy.tried(replace(PRICE, again=("make price",)), told)
    assert (first.sql, first.again, second) == ((), (), told)
    assert first.why == (
        "it could not be tested on a copy: no database can be created (grant CREATEDB)"
    )
    assert try_repair.applies(copy.subject, ("shop", "0002_price")) is False
    assert try_repair.untold((PRICE,)) == (replace(PRICE, sql=()),)


@pytest.mark.parametrize(
    ("failed_in", "applied"),
    [(None, True), ("shop.0003_cart", True), ("shop.0002_price", False), ("", False)],
)
def test_a_migration_can_be_applied_again_unless_it_fails_itself(
    copy: Copy, failed_in: str | None, applied: bool
) -> None:
    copy.failure = None if failed_in is None else SimpleNamespace(migration=failed_in)
    assert try_repair.applies(copy.subject, ("shop", "0002_price")) is applied
    assert copy.ran[0] == try_repair.UNRECORD
    (job,) = copy.jobs
    assert (job.database, job.mode, job.trace) == ("scratch", "plain", False)
    assert copy.said == ["testing whether shop.0002_price can be applied to a copy of the database"]


def test_invalid_indexes_which_a_dump_leaves_out_are_made_where_the_rows_allow_it(
    copy: Copy,
) -> None:
    facts = {"definition": "CREATE INDEX ON public.shop_item (price)", "valid": "no"}
    copy.indexes = [
        Entry("index", ITEM, "broken", facts),
        Entry("index", ITEM, "whole", facts | {"valid": "yes"}),
        Entry("index", ITEM, "unique", facts),
    ]
    statements = [create_index(index) for index in copy.indexes]
    copy.does = {statements[2]: fails}
    copy.tried(PRICE)
    assert copy.ran[:3] == ["BEGIN", statements[0], "SET CONSTRAINTS ALL IMMEDIATE"]
    assert copy.ran[3:7] == ["COMMIT", "BEGIN", statements[2], "ROLLBACK"]
    assert statements[1] not in copy.ran
