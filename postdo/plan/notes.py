"""What a person should know about a plan although it does not stop it, one line each. Pure."""

from __future__ import annotations

import re

from postdo.base import formatting
from postdo.base.config import Answer, Policies, Rehearse
from postdo.base.formatting import BLOCKS_WRITES
from postdo.plan.findings import Findings, Pending
from postdo.plan.refusals import Concern
from postdo.rehearsal.rehearse import FULL
from postdo.rehearsal.trace import Lock

NO_ROWS = (
    "rehearsed without rows (REHEARSE=schema): the migrations can still fail on the data, and it "
    "is unknown which rows they change or delete and how long they lock tables"
)
FIRST_LOOK = (
    "this is the first run on this database: its schema differs from what the current migrations "
    "produce, and is accepted as the baseline"
)
UNREHEARSED = "not rehearsed (REHEARSE=off): the migrations can fail when they are applied"
# In a statement; what a comment says is no wish.
CONCURRENTLY = re.compile(r"^(?!\s*--).*\bCONCURRENTLY\b", re.IGNORECASE | re.MULTILINE)


def of(findings: Findings, policies: Policies, concerns: list[Concern]) -> tuple[str, ...]:
    """The notes on a plan. Of ``concerns``, those that a policy allows are noted."""
    if not findings.pending:
        return ()
    allowed = [
        f"{concern.reason.what} ({concern.reason.policy}=allow)"
        for concern in concerns
        if concern.answer is Answer.ALLOW
    ]
    return tuple(allowed + _notes_on_rehearsal(findings, policies) + _notes_on_gaps(findings))


def _notes_on_rehearsal(findings: Findings, policies: Policies) -> list[str]:
    rehearsal = findings.rehearsal
    if rehearsal is None:
        unrehearsed = policies.rehearse is Rehearse.OFF and not findings.empty
        return [UNREHEARSED] if unrehearsed else []
    notes = [NO_ROWS] if rehearsal.method != FULL else []
    notes += _notes_on_concurrently(findings)
    if rehearsal.gap:
        notes.append(rehearsal.gap)
    outside = [formatting.line(place) for place in rehearsal.outside]
    if outside:
        reached = formatting.listed(outside)
        notes.append(
            f"the migrations act outside the database ({reached}), which a rollback does not undo"
        )
    return notes


def _is_concurrent(pending: Pending) -> bool:
    """Whether it asks for CONCURRENTLY, which one transaction cannot have."""
    return any(CONCURRENTLY.search(statement) for statement in pending.sql)


def _notes_on_concurrently(findings: Findings) -> list[str]:
    rehearsal = findings.rehearsal
    if rehearsal is None or rehearsal.trace is None or rehearsal.mode != "transaction":
        return []
    locks = {step.migration: step.locks for step in rehearsal.trace.steps}
    return [
        f"{one.name} runs without CONCURRENTLY, because the release is one transaction"
        + _who_waits(locks.get(one.name, ()), timed=rehearsal.method == FULL)
        for one in findings.pending
        if _is_concurrent(one)
    ]


def _who_waits(locks: tuple[Lock, ...], *, timed: bool) -> str:
    blocking = [lock for lock in locks if lock.mode in BLOCKS_WRITES]
    worst = max(blocking, key=lambda lock: lock.seconds, default=None)
    if worst is None:
        return ""
    span = f" for {formatting.duration(worst.seconds)}" if timed else ""
    return f"; writes to {formatting.table(worst.table)} are blocked{span}"


def _notes_on_gaps(findings: Findings) -> list[str]:
    notes = []
    if findings.drift is None:
        why = f": {formatting.line(findings.drift_unknown)}" if findings.drift_unknown else ""
        notes.append(f"it is unknown whether the schema has drifted{why}")
    elif may_be_rewritten(findings) and any(difference.alarm for difference in findings.drift):
        notes.append(FIRST_LOOK)
    if findings.clashes is None and not findings.empty:
        notes.append("it is unknown whether the running version works on the new schema")
    return notes


def may_be_rewritten(findings: Findings) -> bool:
    """Whether the drift may come from packages that rewrote their old migrations (hazard 7).

    Real ones do (wagtailsearchpromotions.0001), and their former files are not available. What
    matters of it was seen on the copy.
    """
    return bool(findings.first_look and findings.rehearsal and findings.rehearsal.mode)
