"""What did not get its locks in time is tried again; for how long, and what is said meanwhile."""

from __future__ import annotations

from postdo.apply.table_locks import Blocker, against_vacuum
from postdo.base.console import Stopwatch
from postdo.base.context import Run
from postdo.base.errors import Undone
from postdo.base.retry import Backoff
from postdo.rehearsal.trace import Lock
from postdo.rehearsal.verify import AS_BEFORE

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0  # most transactions of a site are over by then
REPEAT_SECONDS = 10.0  # between two lines about who is in the way


class BusyError(Exception):
    """The database was busy with something else, and the attempt was rolled back."""


class LockRetry:
    """Decides about further attempts after a lock time-out.

    ``attempts``: how many failed. ``first``: locks with which to begin the next one.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._watch = Stopwatch()
        self._backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self._said_at: float | None = None
        self.attempts = 0
        self.first: tuple[Lock, ...] = ()

    def wait(self, busy: BusyError, blockers: tuple[Blocker, ...]) -> None:
        """Wait until the next attempt. Raises ``Undone`` when the time is up, or ``Stopped``."""
        self._run.stop.check()
        self.attempts += 1
        self.first += against_vacuum(blockers)
        limit = self._run.config.policies.lock_retry_seconds
        if self._watch.seconds >= limit:
            raise self._given_up(busy, blockers) from busy
        if self._said_at is None or self._watch.seconds - self._said_at >= REPEAT_SECONDS:
            self._said_at = self._watch.seconds
            who = "; ".join(f"{one.place} is locked by {one}" for one in blockers)
            self._run.console.say(f"rolled back, trying again: {busy}{who and f'; {who}'}")
        self._backoff.sleep(limit - self._watch.seconds, jitter=True)

    def _given_up(self, busy: BusyError, blockers: tuple[Blocker, ...]) -> Undone:
        usual = (
            "try again when the site is quieter, or raise LOCK_RETRY_SECONDS to keep trying for "
            "longer"
        )
        return Undone(
            f"{busy}; tried {self.attempts} times in {self._watch}",
            blockers[0].remedy if blockers else usual,
            details=(
                *(f"{one.place} is locked by {one}" for one in blockers),
                AS_BEFORE,
            ),
        )
