"""A plan as text and as HTML: nothing is left out, and no name breaks out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import plans
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import ALL, DEFAULT, EVERYTHING

from postdo.plan.decide import Plan, decide
from postdo.rehearsal.trace import Lock, Loss, Step
from postdo.report import html, text

each_plan = pytest.mark.parametrize("name", list(ALL))
HOSTILE = "<script>alert(1)</script>&\"'`\x1b[31m\x00\u202e"
IN_ALL = (  # what a reader must find in a report of EVERYTHING
    *(migration.name for migration in EVERYTHING.findings.pending),
    "django-oscar 4.1",
    "Remove field note from item",
    plans.BLOCKING.what,
    plans.BLOCKING.next_step,
    plans.REMARK.what,
    plans.ALARM.what,
    plans.ELSEWHERE.what,
    plans.HARMLESS.what,
    plans.CLASH.what,
    *plans.CLASH.steps,
    plans.TWO_CONNECTIONS.what,
    plans.TWO_CONNECTIONS.place,
    "mail to 3 recipients",
    "network api.example.com:443",
    "shop_item.note (1,204 values)",
    "31 rows of shop_cart",
    "blocks reads and writes",
    "ACCESS EXCLUSIVE",
    "1,204 rows updated",
    "PostgreSQL 17.2",
    "shop.0001_initial is recorded, but was not applied",
    EVERYTHING.checksum,
)


def hostile() -> Plan:
    """A plan in which whatever can have a strange name has one."""
    bad = HOSTILE
    table_name = f"public.{bad}"
    step = Step(bad, 1.0, (), (Lock(table_name, "EXCLUSIVE", 9.0),), (table_name,), ())
    trace = replace(
        plans.trace(losses=(Loss("column", table_name, bad, 7),)),
        steps=(step,),
        locks=step.locks,
    )
    failure = replace(
        plans.NULLS, migration=bad, what=bad, place=bad, statement=bad, rows=(bad,), output=(bad,)
    )
    problem = replace(plans.REMARK, what=bad, next_step=bad, details=(bad,))
    return decide(
        plans.findings(
            database=bad,
            server=bad,
            release=bad,
            serving=bad,
            pending=(replace(plans.PRICE, name=bad, package=bad, operations=(bad,), sql=(bad,)),),
            problems=(problem, replace(problem, blocking=True)),
            drift=(
                replace(plans.ALARM, table=table_name, name=bad, what=bad, sql=(bad,)),
                replace(plans.HARMLESS, what=bad),
            ),
            explained=(bad,),
            rehearsal=plans.rehearsal(
                trace, mode="swap", failure=failure, outside=(bad,), backup=bad
            ),
            clashes=(replace(plans.CLASH, table=table_name, what=bad, steps=(bad,)),),
        ),
        DEFAULT,
    )


# --- Text -----------------------------------------------------------------------------------------


def flat(report: str) -> str:
    """The report without the breaks and the indent of its lines."""
    return " ".join(report.split())


@each_plan
def test_the_text_begins_with_the_verdict(name: str) -> None:
    assert flat(text.render(ALL[name])).startswith(flat(ALL[name].line))


@each_plan
@pytest.mark.parametrize("width", [40, 80, 100, 140])
def test_no_line_of_the_text_but_sql_to_be_copied_is_longer_than_asked(
    name: str, width: int
) -> None:
    lines = text.render(ALL[name], width).splitlines()
    to_be_copied = {sql for one in ALL[name].findings.drift or () for sql in one.sql + one.again}

    assert {one.strip() for one in lines if len(one) > width} <= to_be_copied
    assert not any(one != one.rstrip() for one in lines)


def test_a_name_that_is_longer_than_a_line_does_not_widen_it() -> None:
    long = replace(plans.PRICE, name="shop." + "x" * 300, sql=("SELECT '" + "y" * 900 + "'",))
    report = text.render(decide(plans.findings(pending=(long,)), DEFAULT), 80)

    assert max(map(len, report.splitlines())) <= 80
    assert "x" * 300 in "".join(report.split())


@pytest.mark.parametrize("piece", IN_ALL)
def test_the_text_says_all_that_was_found(piece: str) -> None:
    assert piece in flat(text.render(EVERYTHING, 200))


def test_a_reason_stands_before_what_was_seen() -> None:
    report = flat(text.render(EVERYTHING, 200))
    order = [
        report.rindex(words)
        for words in (
            "Why, and what to do",
            "Rehearsal",
            "Drift",
        )
    ]
    assert order == sorted(order)


def test_the_text_names_tables_without_their_usual_schema() -> None:
    assert "public." not in text.render(EVERYTHING)


def test_long_sql_is_cut_and_the_text_says_where_it_is_whole() -> None:
    many = replace(plans.PRICE, sql=tuple(f"SELECT {n}" for n in range(40)))
    report = text.render(decide(plans.findings(pending=(many,)), DEFAULT))

    assert "SELECT 0" in report
    assert "SELECT 39" not in report
    assert "--html or --json" in report


def test_sql_that_removes_a_difference_is_whole_and_its_comment_comments_nothing_else() -> None:
    drop = f'ALTER TABLE "a" DROP COLUMN "{"b" * 60}"{" " * 3}CASCADE;'
    found = replace(plans.ALARM, sql=(f"-- this deletes the data in it\n{drop}",) * 9)
    report = text.render_drift((found,), width=60)
    assert report.count("    -- this deletes the data in it\n") == 9
    assert report.count(drop) == 9, "it can be pasted"
    assert report.count("CASCADE;") == 9


@pytest.mark.parametrize("render", [text.render, html.render])
def test_comments_are_no_statements_and_each_one_ends_once(
    render: Callable[[Plan], str],
) -> None:
    sql = ("--", "-- Add field", "--", "-- why\nUPDATE shop_item SET price = 1;", "  ;")
    report = render(decide(plans.findings(pending=(replace(plans.PRICE, sql=sql),)), DEFAULT))
    assert "-- Add field" not in report
    assert "UPDATE shop_item SET price = 1" in report
    assert "price = 1;;" not in report
    assert not re.search(r"^\s*[|;]\s*;?$", report, re.MULTILINE)


def test_three_hundred_migrations_are_all_named_on_a_few_screens() -> None:
    many = tuple(replace(plans.PRICE, name=f"shop.{n:04}_x") for n in range(300))
    steps = tuple(Step(one.name, 0.01, (), (), (), ()) for one in many)
    slow = replace(steps[250], seconds=9.0, rewrites=(plans.ITEM,))
    trace = replace(plans.trace(), steps=(*steps[:250], slow, *steps[251:]))
    findings = plans.findings(pending=many, rehearsal=plans.rehearsal(trace))
    report = text.render(decide(findings, DEFAULT))

    assert all(one.name in report for one in many)
    assert "shop.0250_x: 9.0 s" in report
    assert "299 more" in report
    assert len(report.splitlines()) < 350


@pytest.mark.parametrize("plan", [hostile()], ids=["hostile"])
def test_no_name_can_send_control_characters_to_a_terminal(plan: Plan) -> None:
    report = text.render(plan)

    assert all(character.isprintable() for character in report.replace("\n", ""))


def test_colour_only_adds_colour() -> None:
    coloured = text.render(EVERYTHING, 80, colour=True)

    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == text.render(EVERYTHING, 80)


def test_a_rehearsal_alone_says_how_it_ended_and_what_to_do() -> None:
    report = flat(text.render_rehearsal(plans.failed(plans.NULLS)))

    assert "it failed" in report
    assert plans.NULLS.what in report
    assert plans.NULLS.rows[0] in report
    assert "default" in report
    assert "it succeeded" in flat(text.render_rehearsal(plans.rehearsal()))


def test_both_say_of_a_base_backup_that_nothing_of_it_is_kept() -> None:
    lost = plans.losing(plans.COLUMN_LOSS)
    assert lost.rehearsal is not None
    copied = replace(lost.rehearsal, copied_by="base-backup", backup="")
    plan = decide(replace(lost, rehearsal=copied), DEFAULT)

    for report in (flat(text.render(plan)), _Reader(html.render(plan)).text):
        assert "made by a base backup in 13 s" in report
        assert "postdo makes no backup of a database of this size" in report


def test_drift_alone_shows_the_sql_and_what_explains_it() -> None:
    report = flat(text.render_drift((plans.ALARM, plans.HARMLESS), ("0001 is only recorded",)))

    assert report.startswith(
        "1 difference from what the migrations produce; 1 harmless difference."
    )
    assert plans.ALARM.sql[0] in report
    assert "0001 is only recorded" in report
    assert "exactly what the migrations produce" in text.render_drift(())


# --- HTML -----------------------------------------------------------------------------------------


class _Reader(HTMLParser):
    """Whether every element is closed, which ones there are, and what the page says."""

    VOID = ("meta",)

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return flat("".join(self.words))


@each_plan
def test_the_page_is_whole_html_with_the_verdict_first(name: str) -> None:
    page = _Reader(html.render(ALL[name]))

    assert page.open == []
    headings = [tag for tag, _ in page.seen if tag in ("h1", "h2")]
    assert headings[:1] == ["h1"]
    assert headings.count("h1") == 1


@pytest.mark.parametrize("piece", IN_ALL)
def test_the_page_says_all_that_was_found(piece: str) -> None:
    # Sentences of ours get a capital there.
    assert piece.lower() in _Reader(html.render(EVERYTHING)).text.lower()


@each_plan
def test_the_page_loads_nothing_and_runs_nothing(name: str) -> None:
    page = html.render(ALL[name])
    elements = _Reader(page).seen
    attributes = [key for _, found in elements for key in found]
    rules = [found["content"] for _, found in elements if "http-equiv" in found]

    assert not {"src", "href", "srcset", "action", "data"} & set(attributes)
    assert not any(key.startswith("on") for key in attributes)
    assert not re.search(r"url\(|@import|<script|<link|<iframe|https?://", page)
    assert [rule and rule.startswith("default-src 'none'; ") for rule in rules] == [True]


def test_a_hostile_name_is_only_text_wherever_it_stands() -> None:
    page = html.render(hostile())
    harmless = _Reader(html.render(EVERYTHING))
    read = _Reader(page)

    assert "<script" not in page
    assert read.open == []
    assert {tag for tag, _ in read.seen} <= {tag for tag, _ in harmless.seen}
    assert read.text.count("<script>alert(1)</script>") > 20
    assert not set("\x00\x1b\u202e") & set(page)


@given(name=st.text(max_size=30))
def test_no_name_can_change_the_elements_of_the_page(name: str) -> None:
    findings = plans.findings(
        drift=(replace(plans.ALARM, what=name, sql=(name,)),),
        problems=(replace(plans.BLOCKING, what=name, next_step=name, details=(name,)),),
    )
    page = _Reader(html.render(decide(findings, DEFAULT)))

    assert page.open == []
    assert {tag for tag, _ in page.seen} <= {
        tag for tag, _ in _Reader(html.render(EVERYTHING)).seen
    } | {"code"}
