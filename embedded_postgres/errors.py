"""What can go wrong, as errors that say what to do next."""

from __future__ import annotations


class EmbeddedPostgresError(Exception):
    """Something did not work, and nothing in the cluster was lost by it.

    `what` says what is wrong and `remedy` what to do next, each a phrase without its period;
    together they are one line. `details` holds log lines (may be empty), printed below it.
    """

    exit_code = 4

    def __init__(self, what: str, remedy: str, details: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.details = details

    def __str__(self) -> str:
        text = f"{self.what}. {self.remedy}."
        return f"{text}\n{self.details}" if self.details else text


class Misconfigured(EmbeddedPostgresError):  # noqa: N818  the name that the whole kit uses
    """The request itself cannot work (a bad port, user, folder); nothing was touched."""

    exit_code = 2
