"""How a run of run.sh ended, and whether it said so as every error has to be said."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """How a run of run.sh ended."""

    command: str
    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All that the user saw."""
        return self.out + self.err

    def __str__(self) -> str:
        return f"$ {self.command}\n[{self.status}]\n--- out\n{self.out}\n--- err\n{self.err}"

    def assert_ok(self) -> Result:
        """Fails with all that was said unless the run went well and quietly."""
        if self.status != 0 or self.err:
            raise AssertionError(f"should have gone well:\n{self}")
        return self

    def assert_refused(self, what: str, remedy: str, status: int = 1) -> Result:
        """Fails unless the run said `what` on its error line and `remedy` on the one below."""
        lines = self.err.splitlines()
        errors = [i for i, line in enumerate(lines) if line.startswith("error: ")]
        problem = None
        if self.status != status:
            problem = f"status {self.status}, not {status}"
        elif len(errors) != 1:
            problem = f"{len(errors)} error lines, not one"
        elif what not in lines[errors[0]]:
            problem = f"the error does not say {what!r}"
        elif not lines[errors[0] + 1].startswith("  next: "):
            problem = "the error has no remedy below it"
        elif remedy not in lines[errors[0] + 1]:
            problem = f"the remedy does not say {remedy!r}"
        if problem:
            raise AssertionError(f"{problem}:\n{self}")
        return self
