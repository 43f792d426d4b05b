"""Which migrations make the expected schema, from which text, and what is refused.

No database and no files: tests/unit/test_postdo_expected_schema.py has real ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from postdo.base.errors import Refused
from postdo.drift import expected_schema
from postdo.drift.expected_schema import expected, from_nothing, key, with_each
from postdo.drift.subject import HAS_TABLES, read_subject
from postdo.journal.journal import Source
from postdo.schema.catalogue import Catalogue

Name = tuple[str, str]
FIRST, SECOND, THIRD = (("shop", name) for name in ("0001_initial", "0002_price", "0003_cart"))
OLD, OLDER = ("old", "0002_more"), ("old", "0001_initial")


class World:
    """A project with the app `shop`. What is archived, on disk and remembered is a test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.on_disk: dict[Name, str] = {}  # the checksum
        self.archived: dict[Name, Source] = {}
        self.depends: dict[Name, tuple[Name, ...]] = {}
        self.replaced: frozenset[Name] = frozenset()
        self.remembered: dict[str, Catalogue] = {}
        self.made = Catalogue(17, ())
        self.jobs: list[Any] = []
        self.said: list[str] = []
        self.result: Any = SimpleNamespace(
            trace=SimpleNamespace(after=self.made), failure=None, further=()
        )
        for name, fake in self.fakes().items():
            monkeypatch.setattr(expected_schema, name, fake)

    def fakes(self) -> dict[str, Any]:
        def read_sources(_: Any, names: Any) -> list[Any]:
            return [
                SimpleNamespace(name=name, checksum=checksum)
                for name, checksum in self.on_disk.items()
                if name in names
            ]

        @contextmanager
        def scratch(*_: Any) -> Iterator[str]:
            yield "scratch"

        def work(_: Any, job: Any) -> Any:
            self.jobs.append(job)
            return self.result

        return {
            "read_sources": read_sources,
            "replaced_by": lambda *_: self.replaced,
            "dependencies": lambda text: self.depends.get(tuple(text.split(".")), ()),
            "rows": lambda *_: [(17,)],
            "scratch_database": scratch,
            "work": work,
        }

    def has(self, *names: Name, on_disk: str | None = "same") -> None:
        """These are archived, and on disk with this checksum."""
        for name in names:
            self.archived[name] = Source(name, "", "same", ".".join(name))
            if on_disk is not None:
                self.on_disk[name] = on_disk

    def subject(self, *known: Name) -> Any:
        apps = [
            SimpleNamespace(label="shop", migrations="shop.migrations"),
            SimpleNamespace(label="plain", migrations=None),
        ]

        def remember(name: str, schema: Catalogue, applied: frozenset[Name]) -> None:
            assert applied == frozenset(known)
            self.remembered[name] = schema

        return SimpleNamespace(
            known=frozenset(known),
            archived=self.archived,
            session=None,
            project=SimpleNamespace(apps=apps),
            journal=SimpleNamespace(expected=self.remembered.get, keep_expected=remember),
            run=SimpleNamespace(
                console=SimpleNamespace(say=self.said.append),
                config=SimpleNamespace(
                    policies=SimpleNamespace(rehearse_seconds=60, memory_mb=512)
                ),
            ),
        )

    def run_of(self, *known: Name) -> tuple[list[Name], list[str]]:
        """Which migrations are run, and which of them from the archive."""
        self.jobs.clear()
        from_nothing(self.subject(*known), frozenset(known))
        (job,) = self.jobs
        assert (job.database, job.mode, job.isolated, job.trace) == (
            *("scratch", "expected"),
            *(True, False),
        )
        assert all(name == text for name, text in job.archived)
        return list(job.targets), [name for name, _ in job.archived]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_the_key_is_that_of_the_applied_set_and_of_the_major() -> None:
    both = key(frozenset({FIRST, SECOND}), 17)
    assert both == key(frozenset({SECOND, FIRST}), 17)
    assert len({both, key(frozenset({FIRST}), 17), key(frozenset({FIRST, SECOND}), 18)}) == 3


def test_it_is_made_once_and_only_if_that_is_asked_for(world: World) -> None:
    subject = world.subject(FIRST)
    assert expected(subject, build=False) is None
    assert world.jobs == []
    assert expected(subject) is world.made
    assert world.remembered == {key(frozenset({FIRST}), 17): world.made}
    assert expected(subject) is expected(subject, build=False) is world.made
    assert len(world.jobs) == 1


def test_a_file_is_run_from_the_archive_where_it_was_edited_or_is_gone(world: World) -> None:
    world.has(FIRST)
    world.has(SECOND, on_disk="edited")
    world.has(THIRD, on_disk=None)
    assert world.run_of(FIRST, SECOND, THIRD) == (
        [FIRST, SECOND, THIRD],
        ["shop.0002_price", "shop.0003_cart"],
    )
    assert world.run_of(FIRST) == ([FIRST], [])
    # One that was never archived is run as it is.
    world.archived.clear()
    assert world.run_of(FIRST, SECOND) == ([FIRST, SECOND], [])


def test_a_squash_that_is_here_stands_for_files_that_are_gone(world: World) -> None:
    world.has(FIRST, on_disk=None)
    world.has(SECOND, THIRD)
    world.replaced = frozenset({FIRST, SECOND})
    assert world.run_of(FIRST, SECOND, THIRD) == ([SECOND, THIRD], [])


def test_an_app_that_is_gone_is_run_where_an_older_file_depends_on_it(world: World) -> None:
    world.has(FIRST)
    world.has(SECOND, on_disk="edited")
    world.has(OLD, OLDER, on_disk=None)
    world.depends = {SECOND: (FIRST, OLD), OLD: (OLDER, SECOND), FIRST: (OLD,)}
    everything = (FIRST, SECOND, OLD, OLDER)
    assert world.run_of(*everything) == (
        sorted(everything),
        ["old.0001_initial", "old.0002_more", "shop.0002_price"],
    )
    # Not where it was never applied, was not kept, or only the file of today names it.
    assert world.run_of(FIRST, SECOND)[0] == [FIRST, SECOND]
    del world.archived[OLD]
    assert world.run_of(*everything)[0] == [FIRST, SECOND]
    world.has(OLD, on_disk=None)
    world.has(SECOND)
    assert world.run_of(*everything)[0] == [FIRST, SECOND]


def test_what_cannot_be_run_is_refused_with_its_place_and_statement(world: World) -> None:
    def refused(failure: Any) -> Refused:
        world.result = SimpleNamespace(trace=None, failure=failure)
        with pytest.raises(Refused) as found:
            expected(world.subject(FIRST))
        assert world.remembered == {}
        return found.value

    assert refused(None).what == "the expected schema cannot be built"
    failure = SimpleNamespace(migration="shop.0001", what="no rows", place="a.py:3", statement="DO")
    error = refused(failure)
    assert error.what == "the applied migrations fail on an empty database: shop.0001: no rows"
    assert error.next_step.startswith("fix the migration at a.py:3 so that it also runs")
    assert error.details == ("DO",)
    error = refused(SimpleNamespace(migration="", what="no rows", place="", statement=""))
    assert error.what.endswith(": migrate: no rows")
    assert error.next_step.startswith("fix the migration so that")
    assert error.details == ()


def test_what_several_sets_have_in_common_is_run_once(world: World) -> None:
    world.has(FIRST)
    world.has(SECOND, THIRD, on_disk="edited")
    schemas = (world.made, None)
    world.result.further = schemas
    more = [frozenset({SECOND}), frozenset({SECOND, THIRD})]
    subject = world.subject(FIRST, SECOND, THIRD)
    assert with_each(subject, frozenset({FIRST}), more) == schemas
    (job,) = world.jobs
    assert job.targets == (FIRST,)
    assert job.further == ((FIRST, SECOND), (FIRST, SECOND, THIRD))
    assert {name for name, _ in job.archived} == {"shop.0002_price", "shop.0003_cart"}
    assert world.said == ["building 2 more schemas from 1 migrations"]

    world.result = SimpleNamespace(trace=None, failure=None)
    assert with_each(subject, frozenset({FIRST}), more) == (None, None)


@pytest.mark.parametrize(
    ("recorded", "has_tables", "empty"), [(False, False, True), (False, True, False), (True, 0, 0)]
)
def test_a_database_is_empty_where_nothing_is_recorded_and_no_table_is_there(
    monkeypatch: pytest.MonkeyPatch, recorded: bool, has_tables: bool, empty: bool
) -> None:
    asked: list[str] = []

    def rows(_: Any, statement: str) -> list[tuple[Any, ...]]:
        asked.append(statement)
        return [(has_tables,)]

    monkeypatch.setattr("postdo.drift.subject.rows", rows)
    nothing: Any = None
    before: Any = SimpleNamespace(
        recorded=frozenset({FIRST, SECOND, OLD} if recorded else ()),
        on_disk=frozenset({FIRST, THIRD}),
    )
    journal: Any = SimpleNamespace(sources=lambda: {OLD: "text", OLDER: "text"})
    subject = read_subject(nothing, nothing, nothing, before, journal)
    assert subject.empty is bool(empty)
    assert asked == ([] if recorded else [HAS_TABLES])
    assert subject.known == (frozenset({FIRST, OLD}) if recorded else frozenset())
