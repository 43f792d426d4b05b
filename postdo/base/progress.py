"""How far the work is: one line that is rewritten on a terminal, plain lines anywhere else."""

from __future__ import annotations

import shutil
from types import TracebackType

from postdo.base.console import Console
from postdo.base.formatting import line

BAR_WIDTH = 20
USUAL_COLUMNS = 80  # where a terminal does not tell


class Progress:
    """``Progress(console).step("rehearsing shop.0002_x", 3, 12)``, and ``done()`` at the end.

    ``done()`` takes the bar away, so that ordinary lines can follow; as a context manager it does
    so by itself. Say nothing else on the console between ``step`` and ``done``.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._terminal = console.out.isatty()
        self._shown = 0
        self._said = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.done()

    def step(self, what: str, number: int, of: int) -> None:
        """``what`` is being done now, as ``number`` of ``of``; an unknown total is 0."""
        count = f"{number} of {of}" if of else ""
        if not self._terminal:
            self._say_once(line(what) + (f" ({count})" if count else ""))
            return
        filled = BAR_WIDTH * min(max(number, 0), of) // of if of else 0
        bar = f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] " if of else ""
        columns = shutil.get_terminal_size((USUAL_COLUMNS, 24)).columns
        # The last column stays free: a cursor that wraps would leave a line behind.
        self._rewrite(f"{bar}{count} {line(what)}".strip()[: max(columns - 1, 1)])

    def done(self) -> None:
        """Take the bar away; harmless if there is none."""
        if self._shown:
            self._rewrite("")

    def _say_once(self, text: str) -> None:
        if text != self._said:
            self._console.say(text)
        self._said = text

    def _rewrite(self, text: str) -> None:
        blank = " " * max(self._shown - len(text), 0)
        end = "\r" if not text else ""
        self._console.draw(f"\r{text}{blank}{end}")
        self._shown = len(text)
