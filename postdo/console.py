"""Plain lines for people: one thought each, marked with the program's name."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TextIO

from postdo.errors import PostdoError

MOST_COLUMNS = 100


@dataclass(frozen=True)
class Console:
    """Where lines go. ``out``: progress and results; ``err``: what went wrong."""

    out: TextIO
    err: TextIO

    @property
    def terminal(self) -> bool:
        """Whether a person looks at it now."""
        return self.out.isatty()

    @property
    def columns(self) -> int:
        """How wide a report may be; more than a hundred is hard to read."""
        return min(shutil.get_terminal_size((MOST_COLUMNS, 24)).columns, MOST_COLUMNS)

    def say(self, text: str) -> None:
        """One line of progress or of result."""
        print(f"postdo: {text}", file=self.out, flush=True)

    def show(self, report: str) -> None:
        """A report of many lines, as it is."""
        print(report, file=self.out, flush=True)

    def warn(self, text: str) -> None:
        """One line that someone should read although the work goes on."""
        print(f"postdo: warning: {text}", file=self.err, flush=True)

    def fail(self, outcome: str, error: PostdoError) -> None:
        """What went wrong (``outcome``: one word for how it ended), and what to do next."""
        lines = [
            f"postdo: {outcome}: {error.what}",
            *(f"postdo:   {line}" for line in error.details),
            f"postdo: next: {error.next_step}",
        ]
        print("\n".join(lines), file=self.err, flush=True)


class Stopwatch:
    """Seconds since it was made; ``str()`` gives them for a message."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s"
