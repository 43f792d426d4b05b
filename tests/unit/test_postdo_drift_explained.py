"""Which migrations are tried as the reason of a drift: each costs a schema.

With a graph of the test's own, and no database; tests/unit/test_postdo_drift.py has real ones.
"""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import migrations

from postdo.base.errors import Refused
from postdo.django_migrations import history
from postdo.drift import drift
from postdo.drift.try_repair import UNRECORD
from postdo.schema.catalogue import Catalogue
from postdo.schema.diff import Difference

Name = tuple[str, str]
ALARM = Difference("column", "public.shop_item", "price", "is missing", True, ())
EXTRA = Difference("table", "public.shop_cart", "shop_cart", "is in no migration", False, ())
MINOR = Difference("index", "public.shop_item", "by_hand", "was made by hand", False, ())
FIRST, SECOND, THIRD = (("shop", name) for name in ("0001_initial", "0002_price", "0003_cart"))
CREATE_CART = migrations.CreateModel("Cart", [])


class World:
    """Three migrations of a shop, in a row; ``tried``: of which sets a schema is made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tried: list[frozenset[Name]] = []
        self.proved: set[frozenset[Name]] = set()
        self.impossible: set[frozenset[Name]] = set()
        self.applies = True
        self.hidden: set[Name] = set()
        self.operations: dict[Name, list[Any]] = {}
        self.parents: dict[Name, list[Name]] = {FIRST: [], SECOND: [FIRST], THIRD: [SECOND]}
        self.apps = [self.app("shop", "shop_item")]
        monkeypatch.setattr(drift, "MigrationLoader", lambda *_, **__: self.loader())
        monkeypatch.setattr(drift, "registry", SimpleNamespace(get_app_configs=lambda: self.apps))
        monkeypatch.setattr(drift, "does_more", lambda _, name: name in self.hidden)
        monkeypatch.setattr(drift, "read", lambda _: None)
        monkeypatch.setattr(drift, "worded", lambda *_: None)
        monkeypatch.setattr(drift, "applies", lambda *_: self.applies)
        monkeypatch.setattr(drift, "with_each", lambda _, common, more: (None,) * len(more))
        monkeypatch.setattr(drift, "from_nothing", self.make)
        monkeypatch.setattr(
            drift, "proves", lambda made, recorded, actual: made.entries[0] in self.proved
        )

    def app(self, label: str, *tables: str) -> Any:
        models = [SimpleNamespace(_meta=SimpleNamespace(db_table=table)) for table in tables]
        return SimpleNamespace(label=label, get_models=lambda **_: models)

    def loader(self) -> Any:
        nodes = {
            name: SimpleNamespace(operations=self.operations.get(name, [])) for name in self.parents
        }
        keyed = {name: SimpleNamespace(key=name, parents=[], children=[]) for name in self.parents}
        for name, parents in self.parents.items():
            for parent in parents:
                keyed[name].parents.append(keyed[parent])
                keyed[parent].children.append(keyed[name])
        return SimpleNamespace(graph=SimpleNamespace(nodes=nodes, node_map=keyed))

    def make(self, _: Any, names: frozenset[Name]) -> Catalogue:
        self.tried.append(names)
        if names in self.impossible:
            raise Refused("cannot be made", "correct it")
        made: Any = names
        return Catalogue(17, (made,))

    def explained(self, applied: list[Name], *differences: Difference) -> list[tuple[str, str]]:
        subject: Any = SimpleNamespace(known=frozenset(applied), session=None)
        self.tried.clear()
        return [(one.migration, one.repair) for one in drift.explain(subject, differences)]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_the_last_applied_one_and_the_first_that_is_not_are_tried(world: World) -> None:
    world.explained([FIRST, SECOND], ALARM)

    both = frozenset({FIRST, SECOND})
    assert world.tried == [both, both - {SECOND}, both | {THIRD}]


def test_what_is_proved_is_the_reason(world: World) -> None:
    world.proved = {frozenset({FIRST})}
    assert world.explained([FIRST, SECOND], ALARM) == [("shop.0002_price", "unrecord")]
    world.proved = {frozenset({FIRST, SECOND, THIRD})}
    assert world.explained([FIRST, SECOND], ALARM) == [("shop.0003_cart", "record")]
    world.proved = set()
    assert world.explained([FIRST, SECOND], ALARM) == []


def test_what_could_not_be_applied_again_is_not_un_recorded(world: World) -> None:
    world.applies = False
    world.proved = {frozenset({FIRST}), frozenset({FIRST, SECOND, THIRD})}
    assert world.explained([FIRST, SECOND], ALARM) == [("shop.0003_cart", "record")]


def test_without_a_schema_of_what_is_recorded_there_is_no_reason(world: World) -> None:
    world.proved = {frozenset({FIRST})}
    world.impossible = {frozenset({FIRST, SECOND})}
    assert world.explained([FIRST, SECOND], ALARM) == []


def test_what_cannot_be_made_is_not_what_is_there(world: World) -> None:
    world.proved = {frozenset({FIRST}), frozenset({FIRST, SECOND, THIRD})}
    world.impossible = {frozenset({FIRST})}
    assert world.explained([FIRST, SECOND], ALARM) == [("shop.0003_cart", "record")]


def test_a_migration_that_does_more_than_a_schema_shows_is_never_the_reason(world: World) -> None:
    world.hidden = {SECOND, THIRD}
    assert world.explained([FIRST, SECOND], ALARM) == []
    assert world.tried == []


def test_only_apps_whose_tables_differ_are_tried(world: World) -> None:
    other = Difference("column", "public.auth_user", "name", "differs", True, ())
    world.explained([FIRST, SECOND], other)
    assert world.tried == []

    world.apps = [world.app("elsewhere", "elsewhere_a"), world.app("shop", "auth_user")]
    world.explained([FIRST, SECOND], other)
    assert len(world.tried) == 3

    # A table that was dropped with its model is known by its name.
    world.apps = [world.app("shop")]
    world.explained([FIRST, SECOND], ALARM)
    assert len(world.tried) == 3


def test_a_further_table_is_a_reason_only_to_record_who_makes_it(world: World) -> None:
    world.explained([FIRST, SECOND], EXTRA)
    assert world.tried == []

    world.operations[THIRD] = [CREATE_CART]
    world.explained([FIRST, SECOND], EXTRA)
    assert [len(names) for names in world.tried] == [2, 3]

    world.operations[THIRD] = [migrations.CreateModel("C", [], {"db_table": "shop_cart"})]
    world.explained([FIRST, SECOND], EXTRA)
    assert [len(names) for names in world.tried] == [2, 3]

    world.operations[THIRD] = [migrations.CreateModel("Cart", [], {"db_table": "other"})]
    world.explained([FIRST, SECOND], EXTRA)
    assert world.tried == []


def test_what_is_no_alarm_and_no_table_has_no_reason(world: World) -> None:
    world.operations[THIRD] = [CREATE_CART]
    assert world.explained([FIRST, SECOND], MINOR) == []
    assert world.explained([FIRST, SECOND]) == []
    world.operations[THIRD] = [migrations.CreateModel("Item", [])]
    assert world.explained([FIRST, SECOND], MINOR) == []
    assert world.tried == []


def test_the_latest_are_tried_and_not_all_of_them(world: World) -> None:
    several = [("shop", f"{number:04d}_step") for number in range(2, 9)]
    world.parents = {FIRST: [], **{name: [FIRST] for name in several}}
    world.explained([FIRST], ALARM)

    tried = [names - {FIRST} for names in world.tried[2:]]  # before: as recorded, and without it
    assert tried == [
        frozenset({name}) for name in sorted(several, reverse=True)[: drift.CANDIDATES]
    ]


def test_a_schema_that_was_made_with_the_others_is_not_made_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def with_each(_: Any, common: Any, more: Any) -> tuple[Any, ...]:
        calls.append((common, more))
        return tuple(Catalogue(17, (common | names,)) for names in more)

    monkeypatch.setattr(drift, "with_each", with_each)
    world.proved = {frozenset({FIRST})}

    assert world.explained([FIRST, SECOND], ALARM) == [("shop.0002_price", "unrecord")]
    assert world.tried == []
    assert calls == [
        (frozenset({FIRST}), [frozenset({SECOND}), frozenset(), frozenset({SECOND, THIRD})])
    ]

    calls.clear()
    world.hidden = {THIRD}
    world.explained([FIRST, SECOND], ALARM)
    assert [common for common, _ in calls] == [frozenset({FIRST})], "one candidate is enough"


@pytest.mark.parametrize(("adopts", "build"), [(True, True), (False, True), (True, False)])
def test_what_is_adopted_is_remembered(
    monkeypatch: pytest.MonkeyPatch, adopts: bool, build: bool
) -> None:
    remembered, more, kept = Catalogue(17, ()), Catalogue(17, ()), []
    monkeypatch.setattr(drift, "expected", lambda *_, **__: remembered)
    monkeypatch.setattr(drift, "read", lambda _: None)
    monkeypatch.setattr(drift, "worded", lambda *_: None)
    monkeypatch.setattr(drift, "with_adopted", lambda *_: more if adopts else remembered)
    monkeypatch.setattr(drift, "keep", lambda _, schema: kept.append(schema))
    monkeypatch.setattr(drift, "compare", lambda wanted, _: (wanted,))
    subject: Any = SimpleNamespace(session=None)

    found: Any = drift.find(subject, build=build)
    (wanted,) = found
    assert wanted is (more if adopts and build else remembered)
    assert kept == ([more] if adopts and build else [])


@pytest.mark.parametrize("repair", ["record", "unrecord"])
def test_an_explanation_says_which_of_the_two_it_is(repair: str) -> None:
    said = str(drift.Explanation("shop.0002_price", repair))

    assert said.startswith("shop.0002_price is recorded") is (repair == "unrecord")
    assert said.startswith("shop.0002_price is not recorded") is (repair == "record")


@pytest.mark.parametrize("build", [True, False])
def test_without_a_remembered_schema_one_is_built_only_if_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, build: bool
) -> None:
    made = Catalogue(17, ())
    monkeypatch.setattr(drift, "expected", lambda _, *, build=True: made if build else None)
    monkeypatch.setattr(drift, "read", lambda _: None)
    monkeypatch.setattr(drift, "worded", lambda *_: None)
    monkeypatch.setattr(drift, "with_adopted", lambda *_: pytest.fail("it is what they make"))
    monkeypatch.setattr(drift, "compare", lambda wanted, _: (wanted,))
    subject: Any = SimpleNamespace(session=None)
    found: Any = drift.find(subject, build=build)
    assert found == ((made,) if build else None)


def test_sql_is_tried_where_there_is_some_and_a_schema_to_compare_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_sql = Difference("column", "public.shop_item", "price", "is missing", True, ("ALTER",))
    subject: Any = None
    monkeypatch.setattr(drift, "tried", lambda *given: given)
    monkeypatch.setattr(drift, "expected", lambda _: "wanted")
    both = (ALARM, with_sql)
    tried: Any = drift.try_sql(subject, both)
    assert tried == (subject, both, "wanted")
    monkeypatch.setattr(drift, "expected", lambda _: None)
    assert drift.try_sql(subject, both) is both
    monkeypatch.setattr(drift, "expected", lambda _: pytest.fail("there is nothing to try"))
    alone = (ALARM,)
    assert drift.try_sql(subject, alone) is alone


PRICE = "shop.0002_price"
NOT_PROVED = "the schema does not prove that shop.0002_price is wrongly "


class Record:
    """A record of migrations that `repair` corrects: ``ran`` and ``kept``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ran: list[tuple[Any, ...]] = []
        self.kept: list[Any] = []
        self.said: list[str] = []
        self.recorded: frozenset[Name] = frozenset()
        self.explanations: tuple[drift.Explanation, ...] = ()
        journal = SimpleNamespace(keep_sources=self.kept.append)
        fakes: dict[str, Any] = {
            "exclusive": lambda *_: nullcontext(),
            "Journal": lambda *_: journal,
            "read_subject": lambda *_: None,
            "find": lambda _: None,
            "explain": lambda *_: self.explanations,
            "rows": lambda _, *given: self.ran.append(given),
            "read_sources": lambda _, names: names,
        }
        for name, fake in fakes.items():
            monkeypatch.setattr(drift, name, fake)
        read = SimpleNamespace(recorded=self.recorded)
        monkeypatch.setattr(history, "read", lambda *_: read)
        self._read = read

    def repair(self, how: str, *, recorded: bool) -> str:
        """What is said, or refused."""
        self._read.recorded = frozenset({SECOND} if recorded else ())
        self.ran.clear()
        self.kept.clear()
        self.said.clear()
        config = SimpleNamespace(postdo=lambda command: f"postdo {command}")
        run: Any = SimpleNamespace(console=SimpleNamespace(say=self.said.append), config=config)
        nothing: Any = None
        try:
            found = drift.repair(run, nothing, nothing, PRICE, how)
        except Refused as error:
            assert (self.ran, self.kept, self.said) == ([], [], [])
            return error.what
        assert found in self.explanations
        return self.said[0]


def test_a_record_is_corrected_only_if_the_schema_proves_just_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = Record(monkeypatch)
    other = drift.Explanation("shop.0001_initial", "record")
    for how, recorded in (("record", False), ("unrecord", True)):
        word = "recorded" if recorded else "not recorded"
        for proved in ((), (other,), (drift.Explanation(PRICE, "neither"),)):
            record.explanations = proved
            assert record.repair(how, recorded=recorded) == NOT_PROVED + word

        record.explanations = (other, drift.Explanation(PRICE, how))
        assert record.repair(how, recorded=recorded) == f"{PRICE}: {how}ed"
        statement = UNRECORD if recorded else drift.RECORD
        assert record.ran == [(statement, *SECOND)]
        assert record.kept == ([] if recorded else [{SECOND}])

        word = "not recorded" if recorded else "recorded"
        nothing_to_do = f"nothing to do: {PRICE} is {word} as applied"
        assert record.repair(how, recorded=not recorded) == nothing_to_do
