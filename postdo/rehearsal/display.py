"""What people see while migrations run elsewhere: a few lines."""

from __future__ import annotations

from postdo.base.console import Console, Stopwatch

SLOW_SECONDS = 2.0  # a migration that takes longer is named
EVERY = 10  # of the others, each so many-th one


class Display:
    """Prints the progress of migrations in the worker.

    ``verb``: ``rehearsing`` or ``rebuilding``.
    """

    def __init__(self, console: Console, verb: str) -> None:
        self._console = console
        self._verb = verb
        self._total = 0
        self._done = 0
        self._since = Stopwatch()
        self._named = False
        self.running = ""

    def planned(self, total: int) -> None:
        """Note how many migrations there will be."""
        self._total = total

    def begins(self, migration: str) -> None:
        """Note that a migration has begun."""
        self.running, self._named, self._since = migration, False, Stopwatch()

    def ended(self) -> None:
        """Note that the migration has ended, and print progress where it is due."""
        self._done += 1
        if self._named:
            self._console.say(f"{self.running} took {self._since}")
        elif self._done % EVERY == 0:
            done = f"{self._done}{f' of {self._total}' if self._total else ''} done"
            self._console.say(f"{self._verb} ... {done}, up to {self.running}")
        self.running = ""

    def time_passes(self) -> None:
        """Print the name of a migration that takes long. To be called again and again."""
        if self.running and not self._named and self._since.seconds > SLOW_SECONDS:
            self._named = True
            self._console.say(f"{self._verb} {self.running} ...")
