"""Waiting for a condition, and never for a time."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from .engine import DockerError

T = TypeVar("T")
# Seconds between two looks: longer and longer, because a look at Docker costs 0.1 s of CPU time.
PAUSE, LONGEST_PAUSE = 0.05, 0.5


def eventually(condition: Callable[[], T], what: str, seconds: float = 30) -> T:
    """Look again and again until `condition` gives something true, and return that.

    An error of the network, of Docker or of an assertion counts as "not yet". Raises
    AssertionError with `what` and the last thing seen when `seconds` have passed.
    """
    deadline = time.monotonic() + seconds
    pause = PAUSE
    while True:
        try:
            seen: object = condition()
            if seen:
                return seen  # type: ignore[return-value]  # seen is what condition returned
        except (OSError, DockerError, AssertionError) as error:
            seen = error
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain: {what}; last seen: {seen!r}")
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM wait; they count at the end, unless they are ignored anyway."""
    came: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: came.append(number)) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
    if came and signal.SIG_IGN not in before:
        raise KeyboardInterrupt
