"""What is looked at before a change: whether drift counts, and what looking costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from projects import Project, made_once, make_shop
from snippets import LIGHT, Answer, inside

ADD = "migrations.AddField('Item', {name!r}, models.IntegerField(default=0))"
RECORD = "INSERT INTO django_migrations (app, name, applied) VALUES ('shop', '0002_price', now())"
LOOK = """
from postdo.release.build_plan import make_plan
from postdo.drift.subject import read_subject
from postdo.drift.drift import find

reads = []
sources = Journal.sources
Journal.sources = lambda self: reads.append(self) or sources(self)

def look():
    fresh = Journal(run, session)
    plan = make_plan(read_subject(run, project, session, seen(), fresh))
    found = plan.findings
    return {"verdict": plan.verdict, "first": found.first_look, "explained": found.explained,
            "reads": len(reads), "drift": [one.what for one in plan.touched_drift],
            "problems": [one.what for one in found.problems]}

def keep_expected():
    archive()
    assert find(read_subject(run, project, session, seen(), journal)) == ()
"""
BY_HAND = "ALTER TABLE {} ADD COLUMN by_hand integer"
WITHOUT_A_WORD = {"MAKEMIGRATIONS": "off", "ON_INCOMPATIBLE": "allow"}


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    """One migration of its own is applied; what was expected and the files of it are kept."""
    project = make_shop(tmp_path, database, settings=LIGHT)
    made_once(project, "look", lambda: inside(project, LOOK + "migrate(); keep_expected()"))
    return project


def look(project: Project, **environment: str) -> Answer:
    return inside(project, LOOK + "answer = look()", **WITHOUT_A_WORD, **environment)


def lacks(value: dict[str, Any], word: str) -> bool:
    return not any(word in what for what in value["problems"])


def test_drift_is_refused_also_where_the_journal_cannot_be_used_any_more(shop: Project) -> None:
    shop.sql(BY_HAND.format("shop_item"))
    shop.migration("shop", "0002_price", ADD.format(name="price"), after="0001_initial")
    before = look(shop).value
    assert (before["verdict"], before["first"]) == ("refuse", False)
    assert lacks(before, "journal")
    shop.sql("UPDATE postdo_journal.journal SET version = 99")
    after = look(shop).value
    assert (after["verdict"], after["first"]) == ("refuse", False)
    assert after["drift"] == before["drift"] != []
    assert not lacks(after, "a newer postdo created it (version 99")


UNUSABLE = {
    "a table is gone": "DROP TABLE postdo_journal.source",
    "no version": "DELETE FROM postdo_journal.journal",
    "all files are damaged": "UPDATE postdo_journal.source SET contents = 'garbage'",
}


@pytest.mark.parametrize("damage", UNUSABLE.values(), ids=list(UNUSABLE))
def test_a_damaged_journal_is_told_and_makes_no_first_look(shop: Project, damage: str) -> None:
    shop.sql(damage)
    found = look(shop).value
    assert (found["verdict"], found["first"]) == ("nothing", False)
    assert any("journal" in what or "archived file" in what for what in found["problems"])


@pytest.mark.parametrize(
    "empty", ["DROP SCHEMA postdo_journal CASCADE", "DELETE FROM postdo_journal.source"]
)
def test_without_a_journal_or_a_file_in_it_the_look_is_the_first(shop: Project, empty: str) -> None:
    shop.sql(empty)
    found = look(shop).value
    assert (found["verdict"], found["first"]) == ("nothing", True)
    assert lacks(found, "journal")


def test_an_alarm_where_nothing_is_changed_costs_no_schema_from_nothing(shop: Project) -> None:
    shop.sql(BY_HAND.format("django_content_type"))
    shop.migration("shop", "0002_price", ADD.format(name="price"), after="0001_initial")
    answer = look(shop)
    assert answer.value["verdict"] == "go"
    assert answer.value["drift"] == []
    assert "building" not in answer.out


def test_drift_that_stops_the_change_is_explained_unless_it_is_allowed(shop: Project) -> None:
    for number, name in (("0002", "price"), ("0003", "stock")):
        after = {"0002": "0001_initial", "0003": "0002_price"}[number]
        shop.migration("shop", f"{number}_{name}", ADD.format(name=name), after=after)
    shop.sql(RECORD)
    refused = look(shop, REHEARSE="off")
    assert refused.value["verdict"] == "refuse"
    assert "shop.0002_price is recorded as applied" in " ".join(refused.value["explained"])
    assert refused.value["reads"] == 1
    allowed = look(shop, REHEARSE="off", ON_DRIFT="allow")
    assert allowed.value["verdict"] == "go"
    assert "building" not in allowed.out


def test_a_lost_file_is_told_once_with_what_brings_it_back(shop: Project) -> None:
    shop.migration("shop", "0002_price", ADD.format(name="price"), after="0001_initial")
    (shop.root / "shop/migrations/0001_initial.py").unlink()
    code = (
        LOOK
        + "archive = None\n"
        + (
            "plan = make_plan(read_subject(run, project, session, seen(), Journal(run, session)))\n"
            "answer = [[one.what, one.next_step] for one in plan.reasons]"
        )
    )

    ((what, next_step),) = inside(shop, code).value

    assert what.startswith("Django cannot order the migrations: ")
    assert "restore shop.0001_initial from version control" in next_step


def test_a_page_that_cannot_be_written_says_why_in_words(shop: Project) -> None:
    outcome = shop.run("plan", "--html", "nowhere/plan.html")

    assert outcome.code == 2
    assert "nowhere/plan.html cannot be written: No such file or directory" in outcome.err
