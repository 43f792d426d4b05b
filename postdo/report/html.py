"""A plan as one HTML page: nothing else is needed to show it, and it runs nothing."""

from __future__ import annotations

from collections.abc import Iterable

from postdo.plan.decide import Plan
from postdo.report import sentences as say
from postdo.report import text
from postdo.report.elements import Html, prose, tag
from postdo.report.style import CSS

TONE = {"nothing": "good", "go": "good", "ask": "warn", "refuse": "bad"}
# Nothing is loaded and nothing runs, whatever a name in it looks like.
RULES = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render(plan: Plan, approve: str = "") -> str:
    """The page as text, from its doctype on. ``approve``: the command that approves the plan."""
    word = say.MEANING.get(plan.verdict, plan.verdict)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=RULES),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{word}: {plan.findings.database}"),
        tag("style", CSS),
    )
    tone = TONE.get(plan.verdict, "idle")
    header = tag("header", tag("p", word), tag("h1", prose(plan.headline)), class_=tone)
    page = _Page()
    text.write(page, plan, approve and f"`{approve}`")
    footer = tag("footer", f"Plan {plan.checksum}, made by postdo: {say.where(plan)}")
    body = tag("body", tag("main", header, *page.parts, footer))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


class _Page:
    """Elements, in the order in which they are added; what is indented stands further right."""

    whole = True

    def __init__(self) -> None:
        self.parts: list[Html] = []

    def heading(self, title: str) -> None:
        self._add("h2", title)

    def line(self, text: str, indent: int = 0, first: str = "", style: str = "") -> None:
        if text:
            self._add("p", f"{first.strip().replace('->', '→')} {text}" if first else text, indent)

    def bullet(self, text: str, indent: int = 2) -> None:
        self.bullets([text], indent)

    def bullets(self, texts: Iterable[str], indent: int = 2) -> None:
        items = [tag("li", prose(text)) for text in texts]
        if items:
            self.parts.append(tag("ul", *items, style=_margin(indent)))

    def sql(self, sql: tuple[str, ...], indent: int) -> None:
        statements = say.statements(sql)
        if statements:
            shown = tag("pre", ";\n".join(statements) + ";")
            folded = tag("details", tag("summary", "SQL"), shown, style=_margin(indent))
            self.parts.append(folded)

    def script(self, sql: tuple[str, ...], indent: int) -> None:
        self.parts.append(tag("pre", "\n".join(sql), style=_margin(indent)))

    def _add(self, element: str, text: str, indent: int = 0) -> None:
        self.parts.append(tag(element, prose(text), style=_margin(indent)))


def _margin(indent: int) -> str:
    return f"margin-left:{indent / 2:g}em" if indent else ""
