"""A plan as plain text, for a terminal: the verdict, why, what to do, then what was seen."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Protocol

from postdo.base.formatting import duration, line, listed, printable, several, spoken
from postdo.plan.decide import Plan, evidence
from postdo.plan.findings import Pending
from postdo.plan.refusals import Reason, loss_sentence, real
from postdo.plan.remedies import remedy
from postdo.rehearsal.rehearse import Rehearsal
from postdo.rehearsal.trace import Step
from postdo.report import sentences as say
from postdo.schema.diff import Difference

LEAST_WIDTH = 40  # below it nothing is readable any more
MOST_STATEMENTS = 4  # of a migration; the other reports have all
MOST_SQL = 280  # characters of a statement
MOST_MIGRATIONS = 20  # with their SQL, and in the rehearsal
MOST_HARMLESS = 5  # differences that do not matter
ELSEWHERE = "see --html or --json"
POST_MIGRATE = "post_migrate"  # the last step of a rehearsal
COLOURS = {"nothing": "32", "go": "32", "ask": "33", "refuse": "31"}  # green, yellow, red
BOLD = "1"


def render(plan: Plan, width: int = 100, *, colour: bool = False, approve: str = "") -> str:
    """The report. No line is longer than ``width`` characters, except SQL that is to be copied.

    ``approve``: the command that approves the plan.
    """
    page = _Text(width, colour)
    page.line(plan.line, style=f"{BOLD};{COLOURS.get(plan.verdict, BOLD)}")
    write(page, plan, approve)
    return page.text


def write(page: Page, plan: Plan, approve: str = "") -> None:
    """Write everything except the verdict on a page, of text or of HTML."""
    page.line(say.where(plan))
    page.line(say.releases(plan))
    for sentence in (say.how_applied(plan), say.how_to_approve(plan, approve)):
        page.line(sentence)
    _why(page, plan)
    _notes(page, plan)
    _pending(page, plan)
    _rehearsal(page, plan)
    if plan.findings.rehearsal is not None:
        _losses(page, plan.findings.rehearsal)
    _compatibility(page, plan)
    _drift(page, plan)
    _problems(page, plan)
    if plan.findings.rehearsal is not None:
        _outside(page, plan.findings.rehearsal)


def render_rehearsal(
    rehearsal: Rehearsal, width: int = 100, *, colour: bool = False, in_kit: bool = False
) -> str:
    """The rehearsal alone, for a command that decides nothing. ``in_kit``: under ``run.sh``."""
    page = _Text(width, colour)
    page.line(say.rehearsed(rehearsal), style=BOLD)
    page.line(say.memory(rehearsal))
    for failure in (rehearsal.failure, rehearsal.plain_failure):
        if failure is not None:
            page.bullets(say.failure_lines(failure))
            page.line(spoken(remedy(failure, rehearsal.outside), in_kit=in_kit), 4, "-> ")
    page.bullets([*rehearsal.server, *filter(None, [rehearsal.gap])])
    _steps(page, rehearsal)
    _losses(page, rehearsal)
    _outside(page, rehearsal)
    return page.text


def render_drift(
    drift: tuple[Difference, ...],
    explained: tuple[str, ...] = (),
    width: int = 100,
    *,
    colour: bool = False,
) -> str:
    """The differences alone. ``explained``: sentences that explain them."""
    page = _Text(width, colour)
    page.line(say.differences(drift), style=BOLD)
    page.bullets(explained)
    _differences(page, drift, ())
    return page.text


class Page(Protocol):
    """What a report is written on. ``whole``: whether it has room for everything that was found."""

    whole: bool

    def heading(self, title: str) -> None:
        """Begin another part of the report."""

    def line(self, text: str, indent: int = 0, first: str = "", style: str = "") -> None:
        """Write a sentence. ``first`` stands before its first line."""

    def bullet(self, text: str, indent: int = 2) -> None:
        """Write one item of a list."""

    def bullets(self, texts: Iterable[str], indent: int = 2) -> None:
        """Write a list."""

    def sql(self, sql: tuple[str, ...], indent: int) -> None:
        """Write statements that are only to be read."""

    def script(self, sql: tuple[str, ...], indent: int) -> None:
        """Write SQL that is to be copied: whole and unchanged, so that it can be pasted."""


class _Text:
    """Lines that are wrapped, indented and cleaned as they are added."""

    whole = False

    def __init__(self, width: int, colour: bool) -> None:
        self._width = max(width, LEAST_WIDTH)
        self._colour = colour
        self._lines: list[str] = []

    @property
    def text(self) -> str:
        return "\n".join(self._lines).lstrip("\n")

    def heading(self, title: str) -> None:
        self._lines.append("")
        self.line(title, style=BOLD)

    def line(self, text: str, indent: int = 0, first: str = "", style: str = "") -> None:
        hanging = len(first) or (2 if style else 0)
        wrapped = textwrap.wrap(
            line(text),
            self._width,
            initial_indent=" " * indent + first,
            subsequent_indent=" " * (indent + hanging),
            break_on_hyphens=False,
        )
        if style and self._colour:
            wrapped = [f"\x1b[{style}m{one}\x1b[0m" for one in wrapped]
        self._lines += wrapped

    def bullet(self, text: str, indent: int = 2) -> None:
        self.line(text, indent, "- ")

    def bullets(self, texts: Iterable[str], indent: int = 2) -> None:
        for text in texts:
            self.bullet(text, indent)

    def sql(self, sql: tuple[str, ...], indent: int) -> None:
        statements = say.statements(sql)
        for statement in statements[:MOST_STATEMENTS]:
            flat = line(statement)
            cut = flat if len(flat) <= MOST_SQL else f"{flat[:MOST_SQL].rstrip()} ..."
            self.line(cut, indent, "| ")
        more = len(statements) - MOST_STATEMENTS
        if more > 0:
            self.line(f"{several(more, 'more statement')}; {ELSEWHERE}", indent, "| ")

    def script(self, sql: tuple[str, ...], indent: int) -> None:
        for row in (row for statement in sql for row in statement.strip().splitlines()):
            self._lines.append(f"{' ' * indent}{printable(row)}".rstrip())


def _why(page: Page, plan: Plan) -> None:
    if not plan.reasons:
        return
    page.heading("Why, and what to do")
    for reason in plan.reasons:
        _reason(page, reason)


def _reason(page: Page, reason: Reason) -> None:
    page.bullet(reason.what)
    page.bullets(reason.details if page.whole else evidence(reason, ELSEWHERE), 6)
    page.line(reason.next_step, 4, "-> ")
    if say.decided_by(reason):
        page.line(say.decided_by(reason), 4)


def _notes(page: Page, plan: Plan) -> None:
    if plan.notes:
        page.heading("Notes")
        page.bullets(plan.notes)


def _pending(page: Page, plan: Plan) -> None:
    pending = plan.findings.pending
    if not pending:
        return
    page.heading(f"Pending: {several(len(pending), 'migration')}")
    with_sql = page.whole or len(pending) <= MOST_MIGRATIONS
    for group in say.groups(pending):
        page.line(group.title, 2)
        for migration in group.pending:
            _migration(page, migration, with_sql=with_sql)
    if not with_sql:
        page.line(f"Operations and SQL: {ELSEWHERE}.", 2)


def _migration(page: Page, migration: Pending, *, with_sql: bool) -> None:
    name = migration.name if migration.atomic else f"{migration.name} (not atomic)"
    page.line(name, 4)
    if with_sql:
        page.bullets(migration.operations, 6)
        page.sql(migration.sql, 6)


def _rehearsal(page: Page, plan: Plan) -> None:
    if not plan.findings.pending:
        return
    page.heading("Rehearsal")
    rehearsal = plan.findings.rehearsal
    if rehearsal is None:
        page.line(say.not_rehearsed(plan.findings), 2)
        return
    page.line(say.rehearsed(rehearsal), 2)
    page.line(say.resources(rehearsal) if page.whole else say.memory(rehearsal), 2)
    if rehearsal.failure and rehearsal.mode:
        page.line("Failed in one transaction:", 2)
        page.bullets(say.failure_lines(rehearsal.failure), 4)
    _steps(page, rehearsal)


def _steps(page: Page, rehearsal: Rehearsal) -> None:
    if rehearsal.trace is None:
        return
    # What Django does at the end is of interest only if somebody waits for it.
    steps = tuple(
        step
        for step in rehearsal.trace.steps
        if page.whole or step.migration != POST_MIGRATE or say.blocking(step.locks) or step.rewrites
    )
    shown = steps
    if len(steps) > MOST_MIGRATIONS and not page.whole:
        notable = [step for step in steps if say.is_notable(step)]
        slowest = sorted(notable, key=lambda step: -step.seconds)[:MOST_MIGRATIONS]
        shown = tuple(step for step in steps if step in slowest)
    for step in shown:
        _step(page, step)
    if len(shown) < len(steps):
        rest = duration(sum(step.seconds for step in steps) - sum(s.seconds for s in shown))
        page.line(f"and {len(steps) - len(shown):,} more, {rest} together; {ELSEWHERE}", 4)


def _step(page: Page, step: Step) -> None:
    page.line(f"{step.migration}: {duration(step.seconds)}", 4)
    for lock in say.blocking(step.locks):
        page.line(say.lock_sentence(lock), 6, "locks     ")
    if step.rewrites:
        page.line(say.listed_tables(step.rewrites), 6, "rewrites  ")
    for effect in step.effects:
        page.line(say.effect_sentence(effect), 6, "changes   ")


def _losses(page: Page, rehearsal: Rehearsal) -> None:
    if rehearsal.trace is None:
        return
    losses = real(rehearsal.trace.losses)
    if losses:
        page.heading("Data loss")
        page.bullets(map(loss_sentence, losses))
        if say.kept(rehearsal):
            page.line(say.kept(rehearsal), 2)


def _compatibility(page: Page, plan: Plan) -> None:
    sentence = say.compatible(plan)
    if not sentence:
        return
    page.heading("Can the running version work on the new schema?")
    page.line(sentence, 2)
    for clash in plan.findings.clashes or ():
        page.bullet(f"{clash.what} (breaks {clash.breaks})")
        if clash.steps:
            page.line("how to do it without downtime:", 4)
        page.bullets(clash.steps, 6)


def _drift(page: Page, plan: Plan) -> None:
    page.heading("Drift")
    page.line(say.drift_sentence(plan), 2)
    page.bullets(plan.findings.explained)
    _differences(page, plan.findings.drift or (), plan.touched_drift)


def _differences(
    page: Page, drift: tuple[Difference, ...], touched: tuple[Difference, ...]
) -> None:
    for difference in drift:
        if difference.alarm:
            _difference(page, difference, touched=difference in touched)
    harmless = [difference.what for difference in drift if not difference.alarm]
    if harmless:
        shown = len(harmless) if page.whole else MOST_HARMLESS
        page.line(f"harmless: {listed(harmless, shown)}", 2)


def _difference(page: Page, difference: Difference, *, touched: bool) -> None:
    page.bullet(difference.what + (" (changed by this plan)" if touched else ""))
    if difference.sql:
        page.line("SQL that removes the difference:", 4)
        page.script(difference.sql, 4)
    elif difference.why:
        page.line(f"no SQL: {difference.why}", 4)
    if difference.again:
        page.line("SQL that restores it after the migrations:", 4)
        page.script(difference.again, 4)


def _problems(page: Page, plan: Plan) -> None:
    # Blocking ones stand among the reasons.
    problems = [problem for problem in plan.findings.problems if not problem.blocking]
    if not problems:
        return
    page.heading("Other findings")
    for problem in problems:
        page.bullet(problem.what)
        page.bullets(problem.details, 6)
        page.line(problem.next_step, 4, "-> ")


def _outside(page: Page, rehearsal: Rehearsal) -> None:
    if rehearsal.beyond:
        page.heading("Outside the database: cannot be rolled back")
        page.bullets(rehearsal.beyond)
