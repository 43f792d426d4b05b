"""What can end a command before its work is done.

Each error says what happened and what to do next; ``__main__`` turns it into an exit code and
prints it. Nothing else in the package exits.
"""

from __future__ import annotations


class PostdoError(Exception):
    """Base of this package's errors; ``__main__.py`` turns each class into an exit code.

    - ``what``: one line, what is wrong. ``next_step``: one line, what to do about it.
    - ``details``: further lines for a person, such as the migrations that were applied.
    - ``result``: what the command found before it failed, for ``--json``.
    """

    def __init__(
        self,
        what: str,
        next_step: str,
        *,
        details: tuple[str, ...] = (),
        result: object = None,
    ) -> None:
        super().__init__(what)
        self.result = result
        self.what = what
        self.next_step = next_step
        self.details = details


class Misconfigured(PostdoError):  # noqa: N818  an outcome, as in DESIGN.md
    """Wrong usage, environment or settings. Nothing was changed."""


class Refused(PostdoError):  # noqa: N818
    """The work is possible, but must not be done as things are. Nothing was changed."""


class Undone(PostdoError):  # noqa: N818
    """The work was tried and failed; the database is as it was before."""


class NotUndone(PostdoError):  # noqa: N818
    """The work was tried and failed, and something stays changed; ``details`` says exactly what."""


def one_line(error: BaseException) -> str:
    """The first line of an error's message, or its type's name where it has no message.

    A database's message continues with position and context lines, which belong to its own log.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
