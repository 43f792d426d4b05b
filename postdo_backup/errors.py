"""What ends a command of this package; ``__main__`` prints it and exits with 1."""

from __future__ import annotations


class BackupFailed(Exception):  # noqa: N818  an outcome, as in postdo.base.errors
    """The command could not do its work.

    ``what``: one line, what is wrong. ``next_step``: one line, what to do about it.
    """

    def __init__(self, what: str, next_step: str) -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step


class Damaged(BackupFailed):
    """A set is not what its manifest says. ``what`` names the file and what is wrong with it."""


def one_line(error: BaseException) -> str:
    """The first line of an error's message, or its type's name where it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
