"""What people see while migrations run elsewhere: a bar on a terminal, else a few lines."""

from __future__ import annotations

from postdo.base.console import Console, Stopwatch
from postdo.base.progress import Progress

SLOW_SECONDS = 2.0  # a migration that takes longer is named
EVERY = 10  # of the others, each so many-th one


class Display:
    """Told what happens, and shows it. ``verb``: ``rehearsing`` or ``rebuilding``."""

    def __init__(self, console: Console, verb: str) -> None:
        self._console = console
        self._verb = verb
        self._bar = Progress(console) if console.out.isatty() else None
        self._total = 0
        self._done = 0
        self._since = Stopwatch()
        self._named = False
        self.running = ""

    def planned(self, total: int) -> None:
        """How many migrations there will be."""
        self._total = total

    def begins(self, migration: str) -> None:
        """A migration is at work."""
        self.running, self._named, self._since = migration, False, Stopwatch()
        if self._bar is not None:
            self._bar.step(f"{self._verb} {migration}", self._done + 1, self._total)

    def ended(self) -> None:
        """It has ended."""
        self._done += 1
        if self._named:
            self._console.say(f"{self.running} took {self._since}")
        elif self._bar is None and self._done % EVERY == 0:
            self._console.say(f"{self._verb} ... {self._done} done, up to {self.running}")
        self.running = ""

    def time_passes(self) -> None:
        """Name what takes long, where no bar names it."""
        slow = self.running and self._since.seconds > SLOW_SECONDS
        if slow and not self._named and self._bar is None:
            self._named = True
            self._console.say(f"{self._verb} {self.running} ...")

    def close(self) -> None:
        """Take the bar away, so that ordinary lines can follow."""
        if self._bar is not None:
            self._bar.done()
