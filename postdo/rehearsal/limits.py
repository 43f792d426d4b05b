"""Which limit of the rehearsal an error met, by a mark on the error and not by its words.

A library may catch it and raise one of its own: the mark is looked for in the causes too.
"""

from __future__ import annotations

from typing import TypeVar

NETWORK, PROGRAM, FILE = "network", "program", "file"
DATABASE, PAST_DJANGO, SERVER = "database", "past-django", "server"
COMMAND, SECONDS, MEMORY = "command", "seconds", "memory"

_MARK = "postdo_limit"  # also as an attribute of an error's class
Marked = TypeVar("Marked", bound=BaseException)


def marked(error: Marked, limit: str) -> Marked:
    """The error, with a mark that says which limit it met."""
    setattr(error, _MARK, limit)
    return error


def limit_of(error: BaseException) -> str:
    """The limit that an error, or one of its causes, met; empty if none."""
    cause: BaseException | None = error
    while cause is not None:
        limit = getattr(cause, _MARK, "")
        if limit:
            return str(limit)
        cause = cause.__cause__ or cause.__context__
    return ""
