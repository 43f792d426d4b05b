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


def render(plan: Plan) -> Json:
    """What ``json.dumps`` can write, and nothing else."""
    return {
        "format": FORMAT,
        "verdict": plan.verdict,
        "line": plan.line,
        "mode": plan.mode,
        "downtime_seconds": _seconds(plan.downtime_seconds),
        "online": plan.online,
        "checksum": plan.checksum,
        "reasons": [_reason(reason) for reason in plan.reasons],
        "notes": list(plan.notes),
        **_findings(plan),
    }


def _findings(plan: Plan) -> Json:
    found: Findings = plan.findings
    touched = frozenset(plan.touched_drift)
    return {
        "database": found.database,
        "server": found.server,
        "release": found.release,
        "serving": found.serving,
        "empty": found.empty,
        "pending": [_pending(migration) for migration in found.pending],
        "problems": [_problem(problem) for problem in found.problems],
        "drift": None
        if found.drift is None
        else [_difference(each, touched=each in touched) for each in found.drift],
        "drift_unknown": found.drift_unknown,
        "first_look": found.first_look,
        "explained": list(found.explained),
        "rehearsal": rehearsal(found.rehearsal) if found.rehearsal else None,
        "rehearsal_missing": found.rehearsal_missing,
        "clashes": None if found.clashes is None else [_clash(each) for each in found.clashes],
    }


def _seconds(value: float) -> float:
    return round(float(value), DECIMALS)


def _reason(reason: Reason) -> Json:
    return {
        "kind": reason.kind,
        "what": reason.what,
        "next_step": reason.next_step,
        "policy": reason.policy,
        "approvable": reason.approvable,
        "details": list(reason.details),
    }


def _pending(migration: Pending) -> Json:
    return {
        "name": migration.name,
        "package": migration.package,
        "atomic": migration.atomic,
        "operations": list(migration.operations),
        "sql": list(migration.sql),
        "checksum": migration.checksum,
    }


def _problem(problem: Problem) -> Json:
    return {
        "hazard": problem.hazard,
        "what": problem.what,
        "next_step": problem.next_step,
        "blocking": problem.blocking,
        "details": list(problem.details),
    }


def _difference(difference: Difference, *, touched: bool) -> Json:
    return {
        "kind": difference.kind,
        "table": difference.table,
        "name": difference.name,
        "what": difference.what,
        "alarm": difference.alarm,
        "touched": touched,
        "sql": list(difference.sql),
        "again": list(difference.again),
        "why": difference.why,
    }


def _clash(clash: Clash) -> Json:
    return {
        "table": clash.table,
        "what": clash.what,
        "breaks": clash.breaks,
        "steps": list(clash.steps),
    }


def rehearsal(done: Rehearsal) -> Json:
    """The part ``rehearsal`` alone, without the two schemas, which are long."""
    return {
        "method": done.method,
        "mode": done.mode,
        "copied_by": done.copied_by,
        "copy_seconds": _seconds(done.copy_seconds),
        "size_bytes": done.size_bytes,
        "backup": done.backup,
        "outside": list(done.beyond),
        "gap": done.gap,
        "server": list(done.server),
        "failure": _failure(done.failure) if done.failure else None,
        "plain_failure": _failure(done.plain_failure) if done.plain_failure else None,
        "trace": _trace(done.trace) if done.trace else None,
    }


def _failure(failure: Failure) -> Json:
    return {
        "migration": failure.migration,
        "what": failure.what,
        "place": failure.place,
        "sqlstate": failure.sqlstate,
        "statement": failure.statement,
        "rows": list(failure.rows),
        "single_only": failure.single_only,
        "output": list(failure.output),
    }


def _trace(trace: Trace) -> Json:
    return {
        "seconds": _seconds(trace.seconds),
        "steps": [_step(step) for step in trace.steps],
        "locks": [_lock(lock) for lock in trace.locks],
        "effects": [_effect(effect) for effect in trace.effects],
        "losses": [_loss(loss) for loss in trace.losses],
        "altered": list(trace.altered),
        "peak_memory_mb": trace.peak_memory_mb,
        "lock_count": trace.lock_count,
        "wal_bytes": trace.wal_bytes,
    }


def _step(step: Step) -> Json:
    return {
        "migration": step.migration,
        "seconds": _seconds(step.seconds),
        "statements": [_statement(statement) for statement in step.statements],
        "locks": [_lock(lock) for lock in step.locks],
        "rewrites": list(step.rewrites),
        "effects": [_effect(effect) for effect in step.effects],
    }


def _statement(statement: Statement) -> Json:
    return {"sql": statement.sql, "seconds": _seconds(statement.seconds)}


def _lock(lock: Lock) -> Json:
    return {"table": lock.table, "mode": lock.mode, "seconds": _seconds(lock.seconds)}


def _effect(effect: Effect) -> Json:
    return {
        "table": effect.table,
        "inserted": effect.inserted,
        "updated": effect.updated,
        "deleted": effect.deleted,
    }


def _loss(loss: Loss) -> Json:
    return {"kind": loss.kind, "table": loss.table, "name": loss.name, "count": loss.count}
