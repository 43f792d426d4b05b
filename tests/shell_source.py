"""The texts in the sources of the shell: where they end, and what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator

# What these are called with is said to people.
SAYING = (
    "say|tell|warn|fail|fail_site|usage_error|step|step_failed|try|report|mode_report|other_engine|require_smoke_test"
    r"|cannot_write|drill_fails|refuse_configuration|lint|\"\$order_fail\"|\"\$1\""
)
CALL = re.compile(
    rf"(?:^|(?<=[\s;|&(!]))(?:(?P<said>{SAYING})|printf(?: --)?|\w+=(?=[\"']))(?=\s|[\"'])"
)
BETWEEN = re.compile(r"(?:[ \t]|\\\n[ \t]*)*")
VARIABLE = re.compile(r"\$(?:\w+|[#*@!?$-])")
ALTERNATIVE = re.compile(r"\$\{\w+:?[-+](.*)\}", re.DOTALL)
FORMAT = re.compile(r"%(?:\.?\d+)?[sdf]")


def end_of_text(source: str, at: int) -> int:
    """Where the text in double quotes that begins there ends, past the expansions in it."""
    while source[at] != '"':
        if source[at] == "\\":
            at += 2
        elif source.startswith(("$(", "${"), at):
            at = end_of_expansion(source, at)
        else:
            at += 1
    return at


def end_of_expansion(source: str, at: int) -> int:
    """The place behind the `$(...)` or `${...}` that begins there."""
    opening, closing = source[at + 1], {"(": ")", "{": "}"}[source[at + 1]]
    at, depth = at + 2, 1
    while depth:
        if source[at] == "\\":
            at += 1
        elif source[at] == "'" and opening == "(":
            at = source.index("'", at + 1)
        elif source[at] == '"':
            at = end_of_text(source, at + 1)
        elif source.startswith(("$(", "${"), at):
            at = end_of_expansion(source, at) - 1
        elif source[at] == opening:
            depth += 1
        elif source[at] == closing:
            depth -= 1
        at += 1
    return at


def texts(source: str) -> Iterator[tuple[str, bool]]:
    """Texts that may be messages, with %s for each value, and whether a function says them.

    Those that are printed or assigned may be parts of a message, or something else.
    """
    end = 0
    for call in CALL.finditer(source):
        if call.start() < end:  # in a text
            continue
        end = call.end()
        while True:
            end = BETWEEN.match(source, end).end()  # type: ignore[union-attr]  # it matches nothing too
            if source[end : end + 1] in {"", *"\n;|&)<>"}:
                break
            if source[end] == "'":
                close = source.index("'", end + 1)
                yield formatted(source[end + 1 : close]), bool(call["said"])
            elif source[end] == '"':
                close = end_of_text(source, end + 1)
                yield from _in_quotes(source[end + 1 : close], said=bool(call["said"]))
            else:
                close = _end_of_word(source, end)
                yield from _expanded(source[end : close + 1])
            end = close + 1
            if call[0].endswith("=") or source[end : end + 1] in {"'", '"'}:  # a part of a word
                break


def formatted(text: str) -> str:
    """A format of printf or of awk as it is printed, with %s for each value."""
    return FORMAT.sub("%s", text.removesuffix("\\n")).replace("%%", "%")


def _in_quotes(text: str, *, said: bool) -> Iterator[tuple[str, bool]]:
    out, at, inner = "", 0, []
    while at < len(text):
        if text[at] == "\\":
            out += text[at + 1] if text[at + 1] in '"$`\\' else text[at : at + 2]
            at += 2
        elif text.startswith(("$(", "${"), at):
            end = end_of_expansion(text, at)
            inner.append(text[at:end])
            out, at = f"{out}%s", end
        elif variable := VARIABLE.match(text, at):
            out, at = f"{out}%s", variable.end()
        else:
            out += text[at]
            at += 1
    yield formatted(re.sub(r"(%s)+", "%s", out)), said
    for expansion in inner:
        yield from _expanded(expansion)


def _expanded(word: str) -> Iterator[tuple[str, bool]]:
    """The texts in an expansion: of the commands in it, or what stands for an empty value."""
    if word.startswith("$("):
        yield from texts(word[2:-1])
    elif alternative := ALTERNATIVE.fullmatch(word):
        yield from _in_quotes(alternative[1], said=False)


def _end_of_word(source: str, at: int) -> int:
    """The last character of a word without quotes, or the one before the first quote in it."""
    while source[at + 1 : at + 2] not in {"", *" \t\n;|&)\"'"}:
        at = end_of_expansion(source, at) if source.startswith(("$(", "${"), at) else at + 1
    return at
