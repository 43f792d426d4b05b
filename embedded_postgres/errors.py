"""What can go wrong, as errors that say what to do next."""

from __future__ import annotations


class EmbeddedPostgresError(Exception):
    """Something failed, and nothing in the cluster was lost.

    `what` says what is wrong and `remedy` what to do next, each a phrase without a period; together
    they are one line. `details` holds log lines that are printed below it, and may be empty.
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
