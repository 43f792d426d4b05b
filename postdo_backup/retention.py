"""Which sets are kept: so many daily, weekly and monthly ones. Pure.

Of a day, a week and a month the newest set counts. The rules are applied twice, to the verified
sets alone and to all of them, and what either keeps is kept. So a set that was not verified never
takes the place of one that works, however many of them there are.

Only what the kit makes by itself is removed: the nightly sets by these rules, and those from before
a change of its own (``before-restore``) when they are older than the daily ones. A set that
somebody asked for stays until somebody removes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

SCHEDULED = "schedule"
BEFORE = "before-"


@dataclass(frozen=True)
class Rules:
    """How many of each are kept. ``daily`` is at least 1."""

    daily: int = 7
    weekly: int = 4
    monthly: int = 6


@dataclass(frozen=True)
class Candidate:
    """What counts of a set. ``made_at`` has a time zone."""

    name: str
    made_at: datetime
    why: str
    verified: bool


def removable(sets: Iterable[Candidate], rules: Rules, now: datetime) -> tuple[str, ...]:
    """The names of the sets that need not be kept, the oldest first.

    Neither the newest set nor the newest verified one is among them, whatever took them.
    """
    ordered = sorted(sets, key=lambda each: (each.made_at, each.name))
    verified = [each for each in ordered if each.verified]
    kept = {each.name for some in (ordered, verified) for each in some[-1:]}
    for some in (ordered, verified):
        kept |= _kept([each for each in some if each.why == SCHEDULED], rules)
    young = now - timedelta(days=rules.daily)
    return tuple(
        each.name
        for each in ordered
        if each.name not in kept
        and (each.why == SCHEDULED or (each.why.startswith(BEFORE) and each.made_at < young))
    )


def _kept(ordered: list[Candidate], rules: Rules) -> set[str]:
    periods: tuple[tuple[int, Callable[[datetime], object]], ...] = (
        (rules.daily, lambda at: at.date()),
        (rules.weekly, lambda at: at.isocalendar()[:2]),
        (rules.monthly, lambda at: (at.year, at.month)),
    )
    kept = set()
    for count, period in periods:
        newest = {period(each.made_at): each.name for each in ordered}  # the last one of each wins
        kept |= set(list(newest.values())[-count:] if count else [])
    return kept
