"""HTML that cannot be broken by what it shows: every text is escaped, unless it is HTML already."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

VOID = frozenset({"meta"})
# Sentences of ours begin in lower case, as names of apps and tables do, which keep it.
OURS = re.compile(
    r"(would|release|the|a|an|nobody|nothing|every|all|not|acts|it|this|in|rehearsed|schema|unexpected)\b"
)


class Html(str):
    """Text that is HTML already. Only this module's functions and our constants create it."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str) -> Html:
    """An element with escaped children.

    ``class_`` is ``class``; attributes without value are left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value
    )
    if name in VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Iterable[str]) -> Html:
    """The children one after another, escaped."""
    return Html("".join(map(_safe, children)))


def prose(text: str) -> Html:
    """A sentence, with a capital letter if it is ours, and with backquoted parts as code."""
    whole = text[:1].upper() + text[1:] if OURS.match(text) else text
    parts = whole.split("`")
    if len(parts) % 2 == 0:  # an odd backquote belongs to the text
        return join([whole])
    return join([tag("code", part) if number % 2 else part for number, part in enumerate(parts)])


def _safe(child: str) -> str:
    if isinstance(child, Html):
        return child
    # A control character is no valid HTML, and could hide what follows it.
    return escape("".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in child))
