"""A plan for machines: plain values under documented keys (``docs/plan-json.md``).

A key that is there keeps its name and meaning as long as ``FORMAT`` is the same; keys may be added.
"""

from __future__ import annotations

from typing import Any

from postdo.compatibility.compare import Clash
from postdo.plan.decide import Plan
from postdo.plan.findings import Findings, Pending, Problem
from postdo.plan.refusals import Reason
from postdo.rehearsal.rehearse import Rehearsal
from postdo.rehearsal.trace import Effect, Failure, Lock, Loss, Statement, Step, Trace
from postdo.schema.diff import Difference

FORMAT = 1
DECIMALS = 3  # of seconds: milliseconds

Json = dict[str, Any]

# Which attributes of what was found are written, each under its own name. What is not here (the two
# schemas of a rehearsal, which are long) is not written.
KEYS: dict[type, str] = {
    Plan: "verdict line mode downtime_seconds online checksum reasons notes",
    Reason: "kind what next_step policy approvable details",
    Findings: "database server release serving empty pending problems drift drift_unknown "
    "first_look explained rehearsal rehearsal_missing clashes",
    Pending: "name package atomic operations sql checksum",
    Problem: "hazard what next_step blocking details",
    Difference: "kind table name what alarm sql again why",
    Clash: "table what breaks steps",
    Rehearsal: "method mode copied_by copy_seconds size_bytes backup gap server failure "
    "plain_failure trace",
    Failure: "migration what place sqlstate statement rows single_only output",
    Trace: "seconds steps locks effects losses altered peak_memory_mb lock_count wal_bytes",
    Step: "migration seconds statements locks rewrites effects",
    Statement: "sql seconds",
    Lock: "table mode seconds",
    Effect: "table inserted updated deleted",
    Loss: "kind table name count",
}


def render(plan: Plan) -> Json:
    """The plan as values that ``json.dumps`` can write."""
    found = plan.findings
    values = {"format": FORMAT, **_written(plan), **_written(found)}
    if found.rehearsal is not None:
        values["rehearsal"] = rehearsal(found.rehearsal)
    for difference, written in zip(found.drift or (), values["drift"] or (), strict=True):
        written["touched"] = difference in plan.touched_drift
    return values


def rehearsal(done: Rehearsal) -> Json:
    """The part ``rehearsal`` alone."""
    return {**_written(done), "outside": list(done.beyond)}


def _written(found: object) -> Json:
    return {key: _value(getattr(found, key)) for key in KEYS[type(found)].split()}


def _value(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_value(one) for one in value]
    if isinstance(value, float):
        return round(value, DECIMALS)
    return _written(value) if type(value) in KEYS else value
