"""Waiting for a condition, and never for a time."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from .engine import DockerError

T = TypeVar("T")
PAUSE = 0.1  # seconds between the first two looks
# And between later ones, because a look at Docker costs 0.1 s of CPU time.
LONGEST_PAUSE = 0.4


def eventually(
    condition: Callable[[], T], what: str, seconds: float = 30, *, passes: bool = False
) -> T:
    """Look again and again until `condition` gives something true, and return that.

    `passes`: it is true for a moment only, and every look comes after the short pause.

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
        pause = PAUSE if passes else min(pause * 1.5, LONGEST_PAUSE)


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
