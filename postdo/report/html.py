"""A plan as one HTML page: nothing else is needed to show it, and it runs nothing."""

from __future__ import annotations

from postdo.base.formatting import APPROVE, duration, several
from postdo.compatibility.compare import Clash
from postdo.plan.decide import Plan
from postdo.plan.findings import Pending, Problem
from postdo.plan.refusals import Reason, loss_sentence, real
from postdo.rehearsal.rehearse import Rehearsal
from postdo.rehearsal.trace import Failure, Step
from postdo.report import sentences as say
from postdo.report.elements import Html, join, name, prose, tag
from postdo.report.style import CSS
from postdo.schema.diff import Difference

TONE = {"nothing": "good", "go": "good", "ask": "warn", "refuse": "bad"}
NOTHING = Html("")
# Nothing is loaded and nothing runs, whatever a name in it looks like.
RULES = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
OUTSIDE = "When the plan is carried out this happens for good, even if everything else is undone."


def render(plan: Plan, approve: str = "") -> str:
    """The page, as text that begins with its doctype. ``approve``: the command that does so."""
    title = f"{say.MEANING.get(plan.verdict, plan.verdict)}: {plan.findings.database}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=RULES),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", CSS),
    )
    body = tag("body", tag("main", *_sections(plan, approve), _footer(plan)))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _sections(plan: Plan, approve: str) -> list[Html]:
    return [
        _verdict(plan, approve),
        _facts(plan),
        _reasons(plan),
        _notes(plan),
        _pending(plan),
        _rehearsal(plan),
        _losses(plan),
        _compatibility(plan),
        _drift(plan),
        _problems(plan),
        _outside(plan),
    ]


def _section(title: str, *children: Html) -> Html:
    return tag("section", tag("h2", title), *children)


def _list(items: list[str] | tuple[str, ...]) -> Html:
    return tag("ul", *(tag("li", prose(item)) for item in items)) if items else NOTHING


def _paragraph(text: str, class_: str = "") -> Html:
    return tag("p", prose(text), class_=class_) if text else NOTHING


def _badge(text: str, tone: str) -> Html:
    return tag("span", text, class_=f"badge {tone}")


def _code(sql: tuple[str, ...]) -> Html:
    statements = say.statements(sql)
    return tag("pre", ";\n".join(statements) + ";") if statements else NOTHING


# --- First: what it comes to ----------------------------------------------------------------------


def _verdict(plan: Plan, approve_by: str) -> Html:
    word = say.MEANING.get(plan.verdict, plan.verdict)
    approve = NOTHING
    if plan.verdict == "ask":
        command = tag("code", approve_by or f"{APPROVE} {plan.checksum}")
        approve = tag("p", "To approve this plan, and no other one: ", command)
    return tag(
        "header",
        _paragraph(word, "word"),
        tag("h1", prose(plan.headline)),
        _paragraph(say.how_applied(plan)),
        approve,
        class_=f"verdict {TONE.get(plan.verdict, 'idle')}",
    )


def _facts(plan: Plan) -> Html:
    found = plan.findings
    online = {True: "yes", False: "no", None: "not known"}[plan.online]
    facts = [
        ("Database", found.database),
        ("Server", found.server),
        ("Release", found.release),
        ("Schema last changed by", found.serving),
        ("Pending", several(len(found.pending), "migration")),
        ("Without downtime", online if found.pending else ""),
        ("Site stopped for" if plan.mode == "swap" else "Longest lock", _downtime(plan)),
        ("Plan", plan.checksum),
    ]
    pairs = [tag("div", tag("dt", term), tag("dd", name(value))) for term, value in facts if value]
    return tag("dl", *pairs, class_="facts")


def _downtime(plan: Plan) -> str:
    rehearsal = plan.findings.rehearsal
    return duration(plan.downtime_seconds) if rehearsal and rehearsal.trace else ""


def _reasons(plan: Plan) -> Html:
    if not plan.reasons:
        return NOTHING
    return _section("Why, and what to do", *map(_reason, plan.reasons))


def _reason(reason: Reason) -> Html:
    lifted = _badge("an approval lifts it", "warn")
    policy = say.decided_by(reason)
    return tag(
        "div",
        tag("p", lifted if reason.approvable else _badge("stops it", "bad"), class_="soft small"),
        _paragraph(reason.what, "what"),
        _list(reason.details),
        tag("p", tag("strong", "What to do: "), prose(reason.next_step)),
        tag("p", policy, class_="soft small") if policy else NOTHING,
        class_="card",
    )


def _notes(plan: Plan) -> Html:
    return _section("Good to know", _list(plan.notes)) if plan.notes else NOTHING


# --- What is to be applied ------------------------------------------------------------------------


def _pending(plan: Plan) -> Html:
    pending = plan.findings.pending
    if not pending:
        return NOTHING
    parts = [
        join([tag("h3", group.title), *map(_migration, group.pending)])
        for group in say.groups(pending)
    ]
    return _section("Pending migrations", *parts)


def _migration(migration: Pending) -> Html:
    alone = _badge("not atomic by itself", "idle")
    return tag(
        "details",
        tag("summary", tag("strong", name(migration.name)), NOTHING if migration.atomic else alone),
        _list(migration.operations),
        _code(migration.sql),
        class_="card",
    )


# --- What was seen --------------------------------------------------------------------------------


def _rehearsal(plan: Plan) -> Html:
    if not plan.findings.pending:
        return NOTHING
    title = "Seen in the rehearsal"
    rehearsal = plan.findings.rehearsal
    if rehearsal is None:
        return _section(title, _paragraph(say.not_rehearsed(plan.findings)))
    failed_once = rehearsal.failure if rehearsal.mode else None
    return _section(
        title,
        _paragraph(say.rehearsed(rehearsal)),
        _paragraph(say.resources(rehearsal), "soft"),
        _failure(failed_once) if failed_once else NOTHING,
        _steps(rehearsal),
    )


def _failure(failure: Failure) -> Html:
    what, *rest = say.failure_lines(failure)
    return tag(
        "div",
        tag("p", tag("strong", "In one transaction it failed: "), what),
        _list(rest),
        _code((failure.statement,) if failure.statement else ()),
        class_="card",
    )


def _steps(rehearsal: Rehearsal) -> Html:
    if rehearsal.trace is None or not rehearsal.trace.steps:
        return NOTHING
    titles = ("Migration", "Time", "Who waits", "Written anew", "Rows")
    longest = max(step.seconds for step in rehearsal.trace.steps) or 1.0
    head = tag("thead", tag("tr", *(tag("th", title, scope="col") for title in titles)))
    body = tag("tbody", *(_step(step, longest) for step in rehearsal.trace.steps))
    return join([tag("h3", "Step by step"), tag("div", tag("table", head, body), class_="scroll")])


def _step(step: Step, longest: float) -> Html:
    width = f"width:{max(1, round(100 * step.seconds / longest))}%"
    locks = [say.lock_sentence(lock) for lock in say.blocking(step.locks)]
    return tag(
        "tr",
        tag("td", tag("strong", name(step.migration)), _statements(step)),
        tag("td", duration(step.seconds), tag("span", class_="bar", style=width), class_="time"),
        _cell("Who waits", locks, "nobody"),
        _cell("Written anew", [say.listed_tables(step.rewrites)] if step.rewrites else [], "none"),
        _cell("Rows", [say.effect_sentence(effect) for effect in step.effects], "unchanged"),
    )


def _cell(label: str, lines: list[str], empty: str) -> Html:
    if not lines:
        return tag("td", empty, class_="none")
    return tag("td", *(tag("p", name(line)) for line in lines), data_label=label)


def _statements(step: Step) -> Html:
    if not step.statements:
        return NOTHING
    slowest_first = sorted(step.statements, key=lambda statement: -statement.seconds)
    shown = [f"{duration(one.seconds)}: {one.sql}" for one in slowest_first]
    summary = tag("summary", several(len(shown), "statement"), class_="soft small")
    return tag("details", summary, tag("pre", "\n".join(shown)))


def _losses(plan: Plan) -> Html:
    rehearsal = plan.findings.rehearsal
    if rehearsal is None or rehearsal.trace is None:
        return NOTHING
    losses = real(rehearsal.trace.losses)
    if not losses:
        return NOTHING
    return _section(
        "Data that would be gone",
        _list([loss_sentence(loss) for loss in losses]),
        _paragraph(say.kept(rehearsal), "soft"),
    )


# --- What else counts -----------------------------------------------------------------------------


def _compatibility(plan: Plan) -> Html:
    sentence = say.compatible(plan)
    if not sentence:
        return NOTHING
    return _section(
        "The release that is serving, on the new schema",
        _paragraph(sentence),
        *map(_clash, plan.findings.clashes or ()),
    )


def _clash(clash: Clash) -> Html:
    return tag(
        "div",
        tag("p", prose(clash.what), " ", _badge(f"breaks {clash.breaks}", "bad")),
        _paragraph("Without downtime it goes so:" if clash.steps else "", "soft"),
        _list(clash.steps),
        class_="card",
    )


def _drift(plan: Plan) -> Html:
    drift = say.alarms_first(plan.findings.drift or ())
    touched = plan.touched_drift
    alarms = [_difference(each, touched=each in touched) for each in drift if each.alarm]
    harmless = [each.what for each in drift if not each.alarm]
    rest = NOTHING
    if harmless:
        summary = tag("summary", several(len(harmless), "harmless difference"))
        rest = tag("details", summary, _list(harmless), class_="card")
    return _section(
        "The schema against its migrations",
        _paragraph(say.drift_sentence(plan)),
        _list(plan.findings.explained),
        *alarms,
        rest,
    )


def _difference(difference: Difference, *, touched: bool) -> Html:
    here = _badge("this plan works here", "bad")
    sql = NOTHING
    if difference.sql:
        summary = tag("summary", "SQL that would remove the difference", class_="soft small")
        back = [tag("p", "and this would make it again:"), _code(difference.again)]
        sql = tag("details", summary, _code(difference.sql), *(back if difference.again else ()))
    elif difference.why:
        sql = tag("p", prose(f"no SQL is shown: {difference.why}"), class_="soft small")
    words = tag("p", prose(difference.what), " ", here if touched else NOTHING)
    return tag("div", words, sql, class_="card")


def _problems(plan: Plan) -> Html:
    # Blocking ones stand among the reasons.
    problems = [problem for problem in plan.findings.problems if not problem.blocking]
    if not problems:
        return NOTHING
    return _section("Other things that were noticed", *map(_problem, problems))


def _problem(problem: Problem) -> Html:
    return tag(
        "div",
        _paragraph(problem.what, "what"),
        _list(problem.details),
        tag("p", tag("strong", "What to do: "), prose(problem.next_step)),
        class_="card",
    )


def _outside(plan: Plan) -> Html:
    rehearsal = plan.findings.rehearsal
    if rehearsal is None or not rehearsal.beyond:
        return NOTHING
    title = "Beyond the database: nothing undoes this"
    return _section(title, _paragraph(OUTSIDE), _list(rehearsal.beyond))


def _footer(plan: Plan) -> Html:
    return tag("footer", f"Plan {plan.checksum}, made by postdo: {say.where(plan)}")
