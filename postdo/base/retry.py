"""Pauses between attempts."""

from __future__ import annotations

import math
import random
import time

JITTER = 0.5  # of a pause, so that two who block each other do not meet again


class Backoff:
    """Growing pauses: each is twice as long as the one before, from ``first`` up to ``longest``.

    Both are in seconds.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._next = first
        self._longest = longest

    def sleep(self, most: float = math.inf, *, jitter: bool = False) -> None:
        """Sleep for the next pause, but for at most ``most`` seconds.

        ``jitter``: vary the pause by up to half, so that two who wait for each other do not meet
        again.
        """
        pause = self._next * (random.uniform(1 - JITTER, 1 + JITTER) if jitter else 1)  # noqa: S311  no secret
        time.sleep(min(pause, max(0.0, most)))
        self._next = min(self._next * 2, self._longest)
