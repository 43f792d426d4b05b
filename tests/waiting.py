"""Waiting for a condition, and never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 60.0  # much more than anything here takes on a busy machine
PAUSE_SECONDS = 0.01


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Return as soon as the condition holds.

    Raises AssertionError with ``what`` when ``seconds`` have passed without it.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain: {what}"
        time.sleep(PAUSE_SECONDS)
