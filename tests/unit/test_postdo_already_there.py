"""What a migration made although it was there already is taken as its own, and nothing else is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.postgres.operations import HStoreExtension
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

from postdo.base.errors import Refused
from postdo.drift import already_there
from postdo.drift.already_there import does_more, with_adopted
from postdo.schema.catalogue import Catalogue, Entry

NAME = ("shop", "0002_view")
VIEW = Entry("view", "public.report", "report", {"definition": "SELECT 1"})
OTHER_VIEW = Entry("view", "public.report", "report", {"definition": "SELECT 2"})
OF_VIEW = Entry("column", "public.report", "id", {"from": "view"})
COLUMN = Entry("column", "public.shop_item", "note", {"from": "table"})
FUNCTION = Entry("function", "", "public.price(integer)", {"definition": "1"})
TABLE = Entry("table", "public.shop_item", "shop_item", {"kind": "table"})
RUNS = migrations.RunSQL("CREATE OR REPLACE VIEW report AS SELECT 1")


class Named(Operation):
    """Of the project itself."""


class World:
    """The migrations make ``made``, run from nothing; ``builds``: how often they were."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: tuple[Entry, ...] | None = (TABLE, VIEW)
        self.text, self.builds = "CREATE VIEW report", 0
        self.operations: list[Operation] = [RUNS]
        self.known = frozenset({NAME})
        self.nodes = {NAME: SimpleNamespace(operations=self.operations)}
        monkeypatch.setattr(already_there, "from_nothing", self._build)
        monkeypatch.setattr(already_there, "worded", lambda _, made, __: made)
        loader = SimpleNamespace(graph=SimpleNamespace(nodes=self.nodes))
        monkeypatch.setattr(already_there, "MigrationLoader", lambda *_, **__: loader)

    def _build(self, subject: Any, known: Any) -> Catalogue:
        self.builds += 1
        if self.made is None:
            raise Refused("the applied migrations cannot be run from nothing", "correct them")
        return Catalogue(17, self.made)

    def adopted(self, wanted: list[Entry], actual: list[Entry]) -> list[Entry] | None:
        """What is expected then; ``None``: the same object as before."""
        archived = {NAME: SimpleNamespace(text=self.text)}
        subject: Any = SimpleNamespace(session=None, known=self.known, archived=archived)
        before = Catalogue(17, tuple(wanted))
        found = with_adopted(subject, before, Catalogue(17, tuple(actual)))
        return None if found is before else list(found.entries)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_what_is_there_and_the_migrations_make_is_expected_from_now_on(world: World) -> None:
    assert world.adopted([TABLE], [TABLE, VIEW]) == [TABLE, VIEW]


def test_what_is_gone_and_the_migrations_do_not_make_is_expected_no_more(world: World) -> None:
    assert world.adopted([TABLE, OTHER_VIEW], [TABLE]) == [TABLE]


def test_what_is_another_one_is_as_the_migrations_make_it(world: World) -> None:
    assert world.adopted([TABLE, OTHER_VIEW], [TABLE, VIEW]) == [TABLE, VIEW]


def test_where_the_migrations_disagree_with_what_is_there_nothing_is_adopted(world: World) -> None:
    assert world.adopted([TABLE, VIEW], [TABLE]) is None
    assert world.adopted([TABLE], [TABLE, OTHER_VIEW]) is None
    assert world.builds == 2


def test_two_that_are_alike_are_counted(world: World) -> None:
    assert world.adopted([TABLE, VIEW], [TABLE, VIEW, VIEW]) == [TABLE, VIEW, VIEW]


def test_what_cannot_be_run_adopts_nothing(world: World) -> None:
    world.made = None
    assert world.adopted([TABLE], [TABLE, VIEW]) is None
    assert world.builds == 1


@pytest.mark.parametrize(
    ("change", "is_built"),
    [
        ({}, True),
        ({"text": "CREATE VIEW reports"}, False),
        ({"text": "CREATE VIEW my_report"}, False),
        ({"text": 'CREATE VIEW "report"'}, True),
        ({"known": frozenset()}, False),
    ],
)
def test_they_are_run_only_if_an_applied_one_names_what_differs(
    world: World, change: dict[str, Any], is_built: bool
) -> None:
    vars(world).update(change)
    world.adopted([TABLE], [TABLE, VIEW])
    assert bool(world.builds) is is_built


def test_nothing_is_run_where_nothing_differs(world: World) -> None:
    assert world.adopted([TABLE, VIEW], [TABLE, VIEW]) is None
    world.text = "anything at all"
    assert world.adopted([TABLE], [TABLE]) is None
    assert world.builds == 0


def test_nothing_is_run_for_what_djangos_own_operations_show(world: World) -> None:
    world.operations[:] = [migrations.CreateModel("Report", [])]
    world.adopted([TABLE], [TABLE, VIEW])
    assert world.builds == 0

    world.nodes.clear()  # a file that is gone may have done anything
    world.adopted([TABLE], [TABLE, VIEW])
    assert world.builds == 1


@pytest.mark.parametrize(
    ("entry", "text", "is_built"),
    [
        (COLUMN, "note", True),
        (COLUMN, "shop_item", False),
        (OF_VIEW, "id", False),
        (FUNCTION, "CREATE FUNCTION price(int)", True),
        (FUNCTION, "CREATE FUNCTION integer", False),
    ],
)
def test_an_object_is_named_by_its_bare_name(
    world: World, entry: Entry, text: str, is_built: bool
) -> None:
    world.text = text
    world.adopted([TABLE], [TABLE, entry])
    assert bool(world.builds) is is_built


def both(*operations: Operation) -> Operation:
    return migrations.SeparateDatabaseAndState(database_operations=operations)


@pytest.mark.parametrize(
    ("operations", "hides"),
    [
        ([], False),
        (
            [
                migrations.CreateModel("Item", []),
                migrations.AddField("item", "a", models.TextField()),
            ],
            False,
        ),
        ([HStoreExtension()], False),
        ([migrations.RunPython(migrations.RunPython.noop)], False),
        ([migrations.RunSQL(migrations.RunSQL.noop)], False),
        ([migrations.RunPython(lambda apps, editor: None)], True),
        ([migrations.CreateModel("Item", []), RUNS], True),
        ([Named()], True),
        ([both(migrations.CreateModel("Item", []))], False),
        ([both(migrations.CreateModel("Item", []), RUNS)], True),
        ([migrations.SeparateDatabaseAndState(state_operations=[RUNS])], False),
    ],
)
def test_what_an_operation_does_not_say_nobody_knows(
    operations: list[Operation], hides: bool
) -> None:
    nodes = {NAME: SimpleNamespace(operations=operations)}
    loader: Any = SimpleNamespace(graph=SimpleNamespace(nodes=nodes))
    assert does_more(loader, NAME) is hides
