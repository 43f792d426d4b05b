"""The words that the text and the HTML report share. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from postdo.base.formatting import (
    APPROVE,
    BLOCKS_WRITES,
    blocked,
    duration,
    line,
    listed,
    number,
    several,
)
from postdo.base.formatting import size as bytes_in_words
from postdo.base.formatting import table as short
from postdo.plan.decide import Plan
from postdo.plan.findings import Findings, Pending
from postdo.plan.refusals import Reason
from postdo.rehearsal.rehearse import BASE_BACKUP, Rehearsal
from postdo.rehearsal.trace import Effect, Failure, Lock, Step
from postdo.schema.diff import Difference

MEANING = {
    "nothing": "Nothing to do",
    "go": "Ready to go",
    "ask": "Needs approval",
    "refuse": "Refused",
}


@dataclass(frozen=True)
class Group:
    """Pending migrations of one app.

    ``package``: that it came with, empty for the project's own.
    """

    app: str
    package: str
    pending: tuple[Pending, ...]

    @property
    def title(self) -> str:
        """The app, its package if it came with one, and how many migrations there are."""
        count = several(len(self.pending), "migration")
        return f"{self.app} ({self.package}): {count}" if self.package else f"{self.app}: {count}"


def groups(pending: Iterable[Pending]) -> list[Group]:
    """The migrations by app and package, the project's own first; each in order of application."""
    found: dict[tuple[bool, str, str], list[Pending]] = {}
    for one in pending:
        app = one.name.partition(".")[0]
        found.setdefault((bool(one.package), one.package, app), []).append(one)
    ordered = sorted(found.items(), key=lambda item: item[0][0])
    return [Group(app, package, tuple(ones)) for (_, package, app), ones in ordered]


def where(plan: Plan) -> str:
    """The database and server: ``database 'shop' at db:5432; PostgreSQL 17.2``."""
    found = plan.findings
    server = f"; {found.server}" if found.server else ""
    return line(f"database {found.database}{server}")


def releases(plan: Plan) -> str:
    """The versions: ``release 1.5, last release that changed the schema 1.4, plan 1a2b...``."""
    found = plan.findings
    parts = [f"release {found.release}"] if found.release else []
    parts += [f"last release that changed the schema {found.serving}"] if found.serving else []
    return line(", ".join([*parts, f"plan {plan.checksum}"]))


def statements(sql: Iterable[str]) -> tuple[str, ...]:
    """SQL without comment lines and without the semicolons at the end."""
    bare = (statement.strip().rstrip(";") for statement in sql)
    return tuple(
        statement
        for statement in bare
        if any(row and not row.startswith("--") for row in map(str.strip, statement.splitlines()))
    )


def how_applied(plan: Plan) -> str:
    """What happens when the plan is carried out, in one sentence; empty if nothing does."""
    if plan.verdict == "refuse":
        return "Nothing was changed; the site keeps running."
    if plan.mode == "swap":
        return (
            "A copy of the database is migrated while writes are blocked (about "
            f"{duration(plan.downtime_seconds)}), and then replaces the database. If anything "
            "fails, the original database stays in use."
        )
    if plan.mode == "transaction":
        return (
            "Everything is applied in one transaction: if anything fails, everything is rolled "
            "back."
        )
    return ""


def how_to_approve(plan: Plan, command: str = "") -> str:
    """``To approve this plan and no other: --approve 1a2b...``; empty without need."""
    if plan.verdict != "ask":
        return ""
    return f"To approve this plan: {command or f'{APPROVE} {plan.checksum}'}"


def decided_by(reason: Reason) -> str:
    """The policy, as ``decided by ON_LOSS=ask``; empty if none decides."""
    if not reason.policy.startswith("ON_"):
        return ""
    return f"policy: {reason.policy}={'ask' if reason.approvable else 'refuse'}"


def rehearsed(rehearsal: Rehearsal) -> str:
    """On what it was rehearsed, how long it took, and how it ended."""
    rows = "with all rows" if rehearsal.method == "full" else "of the schema only, without rows"
    copy = f"a copy {rows} ({bytes_in_words(rehearsal.size_bytes)})"
    how = "by a base backup " if rehearsal.copied_by == BASE_BACKUP else ""
    made = f"made {how}in {duration(rehearsal.copy_seconds)}"
    if rehearsal.trace is None:
        return f"Rehearsed on {copy}, {made}: it failed."
    took = f"the migrations took {duration(rehearsal.trace.seconds)}"
    in_mode = ", but not in one transaction" if rehearsal.mode == "swap" else ""
    return f"Rehearsed on {copy}, {made}: it succeeded{in_mode}, and {took}."


def kept(rehearsal: Rehearsal) -> str:
    """Whether a backup keeps what would be lost; empty if that is obvious."""
    if rehearsal.copied_by == BASE_BACKUP:
        return "postdo makes no backup of a database of this size: make sure that you have one."
    return ""


def resources(rehearsal: Rehearsal) -> str:
    """What the run needed of the machines, in one sentence; empty without a trace."""
    trace = rehearsal.trace
    if trace is None:
        return ""
    parts = [
        f"{bytes_in_words(trace.wal_bytes)} of write-ahead log",
        f"{number(trace.peak_memory_mb)} MB of memory",
        f"{several(trace.lock_count, 'lock')} at the end",
    ]
    return "It used " + ", ".join(parts) + "."


def memory(rehearsal: Rehearsal) -> str:
    """How much memory the run needed here, in one sentence; empty without a trace."""
    trace = rehearsal.trace
    return f"It used {number(trace.peak_memory_mb)} MB of memory." if trace else ""


def not_rehearsed(found: Findings) -> str:
    """Why there is no rehearsal."""
    if not found.pending:
        return "No migrations are pending, so nothing was rehearsed."
    if found.rehearsal_missing:
        return f"Not rehearsed: {line(found.rehearsal_missing)}."
    return "The database is empty: no rehearsal is needed." if found.empty else "Not rehearsed."


def lock_sentence(lock: Lock) -> str:
    """A lock: ``shop_item: blocks reads and writes, 1.2 s (ACCESS EXCLUSIVE)``."""
    seconds = duration(lock.seconds)
    return f"{short(lock.table)}: {blocked(lock.mode)}, {seconds} ({lock.mode})"


def blocking(locks: Iterable[Lock]) -> list[Lock]:
    """The locks that somebody has to wait for, the longest first."""
    found = [lock for lock in locks if lock.mode in BLOCKS_WRITES]
    return sorted(found, key=lambda lock: (-lock.seconds, lock.table))


def effect_sentence(effect: Effect) -> str:
    """Changed rows: ``shop_item: 3 rows inserted, 1,204 rows updated``."""
    counts = (
        (effect.inserted, "inserted"),
        (effect.updated, "updated"),
        (effect.deleted, "deleted"),
    )
    parts = [f"{several(count, 'row')} {what}" for count, what in counts if count]
    return f"{short(effect.table)}: {', '.join(parts) or 'nothing'}"


def is_notable(step: Step) -> bool:
    """Whether a step blocks somebody, rewrites a table, or changes rows."""
    return bool(blocking(step.locks) or step.rewrites or step.effects)


def compatible(plan: Plan) -> str:
    """Whether the serving release keeps working, in one sentence; empty if it does not matter."""
    found = plan.findings
    if not found.pending:
        return ""
    release = "The running version" + (f" (models of {found.serving})" if found.serving else "")
    if found.clashes is None:
        if found.empty:
            return "No migration was ever applied here, so no version is running."
        return "Unknown: postdo has no record of what the running version uses."
    if not found.clashes:
        return f"{release} works on the new schema."
    return f"{release} fails on the new schema:"


def drift_sentence(plan: Plan) -> str:
    """How far the schema is the one that the migrations produce."""
    drift = plan.findings.drift
    if drift is None:
        why = plan.findings.drift_unknown
        return f"Unknown: {line(why)}." if why else "Unknown."
    touched = number(len(plan.touched_drift)) if plan.touched_drift else "none"
    return differences(
        drift, (f", {touched} in tables that this plan changes") if plan.findings.pending else ""
    )


def differences(drift: tuple[Difference, ...], here: str = "") -> str:
    """How many differences there are. ``here``: added about those that matter."""
    if not drift:
        return "No drift: the schema is exactly what the migrations produce."
    alarms = sum(difference.alarm for difference in drift)
    if not alarms:
        return f"No drift that matters; {several(len(drift), 'harmless difference')}."
    harmless = len(drift) - alarms
    rest = f"; {several(harmless, 'harmless difference')}" if harmless else ""
    return f"{several(alarms, 'difference')} from what the migrations produce{here}{rest}."


def failure_lines(failure: Failure) -> list[str]:
    """Where the run failed, and on what."""
    lines = [f"{failure.migration or 'The migrations'}: {line(failure.what)}"]
    lines += [f"at {failure.place}"] if failure.place else []
    lines += [f"row: {line(row)}" for row in failure.rows]
    return lines + [f"output: {line(text)}" for text in failure.output]


def listed_tables(names: Iterable[str]) -> str:
    """Tables in one line, without the schema ``public``."""
    return listed([short(name) for name in names], most=5)
