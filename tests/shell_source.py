"""Where the texts and expansions in the sources of the shell end."""

from __future__ import annotations


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
