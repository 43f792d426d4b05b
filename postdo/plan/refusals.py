"""Every reason that can stop a release, with its wording and its remedy. Pure.

Each function looks at one part of the findings (the rehearsal, locks, data loss, files, drift,
compatibility) and returns concerns; ``decide.decide`` combines them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from postdo.base.config import Answer
from postdo.base.formatting import (
    BLOCKS_READS,
    BLOCKS_WRITES,
    COMMAND,
    IN_ENV,
    duration,
    line,
    listed,
    several,
    spoken,
    table,
)
from postdo.compatibility.compare import Clash
from postdo.plan.origins import REPLACE, STAY, Origins
from postdo.plan.remedies import remedy
from postdo.rehearsal.rehearse import DUMP, FULL, Rehearsal
from postdo.rehearsal.trace import Failure, Lock, Loss, Trace
from postdo.schema.diff import ON_TABLES, Difference

# A lock of such a mode means that the migration changes the table or what belongs to it; weaker
# ones are those of ordinary reading and writing.
CHANGES = BLOCKS_WRITES | {"SHARE UPDATE EXCLUSIVE"}
ACCEPT = "{accept}"  # in a next step: where it says how a person can accept what is found
APPROVE = "approve the plan"
QUIET = "wait for a quiet time, then {accept}"
DATA_CLASSES = ("22", "23")  # SQLSTATE: values and constraints
OWN = Origins()  # nothing is known to come from elsewhere
MOST_ROWS = 5  # examples of rows in a reason
# By dump and restore, on two cores: 1 GB in 6 to 7 s, 10 GB in 76 s, as PostgreSQL counts a
# database (docs/decisions/measured-migrations.md). Bytes.
COPIED_PER_SECOND = 100e6
EXCHANGE_SECONDS = 0.5  # to hold off the writers, and to exchange the names once all is compared
# The key of the environment that decides over a kind of reason; the others have none.
POLICY = {
    "not-rehearsed": "REHEARSE",
    "downtime": "ON_DOWNTIME",
    "loss": "ON_LOSS",
    "drift": "ON_DRIFT",
    "incompatible": "ON_INCOMPATIBLE",
    "files": "ON_FILES",
}


@dataclass(frozen=True)
class Reason:
    """Why the verdict is not "go". ``policy``: the key of ``.env`` that decides, if any.

    ``approvable``: whether approving the plan's checksum lifts it. ``kind``: problem, rehearsal,
    not-rehearsed, downtime, loss, drift, incompatible or files.
    """

    what: str
    next_step: str
    policy: str
    approvable: bool
    details: tuple[str, ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class Concern:
    """A reason and the policy's answer. One that is allowed becomes a note and stops nothing."""

    reason: Reason
    answer: Answer


def _concern(
    answer: Answer, kind: str, what: str, next_step: str, details: Iterable[str] = ()
) -> Concern:
    policy = POLICY.get(kind, "")
    accept = APPROVE if answer is Answer.ASK else f"set {policy}=ask{IN_ENV}, and {APPROVE}"
    reason = Reason(
        what=line(what),
        next_step=next_step.replace(ACCEPT, accept),
        policy=policy,
        approvable=answer is Answer.ASK,
        details=tuple(details),
        kind=kind,
    )
    return Concern(reason, answer)


def in_words_of(concern: Concern, *, in_kit: bool) -> Concern:
    """The same concern, with the commands that a person types in the kit or without it."""
    reason = concern.reason
    return replace(
        concern, reason=replace(reason, next_step=spoken(reason.next_step, in_kit=in_kit))
    )


# --- The rehearsal --------------------------------------------------------------------------------


def failed(rehearsal: Rehearsal, origins: Origins = OWN) -> list[Concern]:
    """Why the rehearsal failed in every mode; empty if it succeeded in one."""
    if rehearsal.mode:
        return []
    tried = [rehearsal.failure, rehearsal.plain_failure]
    if rehearsal.failure and rehearsal.failure.single_only:
        tried.reverse()  # what fails as Django runs it is the cause, and the other one ours
    failures = [failure for failure in tried if failure is not None]
    if len({line(failure.what) for failure in failures}) == 1:
        del failures[1:]
    if not failures:
        return [_failed("the migrations failed in the rehearsal", "fix what the lines above say")]
    outside = rehearsal.outside
    return [
        _failed(_blame(one), _remedy(one, outside, origins), _evidence(one)) for one in failures
    ]


def _remedy(failure: Failure, outside: tuple[str, ...], origins: Origins) -> str:
    package = origins.of_migration(failure.migration)
    usual = remedy(failure, outside)
    if not package:
        return usual
    theirs = f"{failure.migration} belongs to {package}: {STAY}, or {REPLACE}"
    if failure.sqlstate.startswith(DATA_CLASSES):
        return f"{usual} (in a migration of your own, with run_before); {theirs}"
    return theirs


def _failed(what: str, next_step: str, details: Iterable[str] = ()) -> Concern:
    return _concern(Answer.REFUSE, "rehearsal", what, next_step, details)


def _blame(failure: Failure) -> str:
    return f"{failure.migration or 'the migrations'} failed in the rehearsal: {failure.what}"


def _evidence(failure: Failure) -> list[str]:
    lines = [f"at {failure.place}"] if failure.place else []
    if failure.statement:
        lines.append(f"SQL: {line(failure.statement)}")
    lines += [f"row: {line(row)}" for row in failure.rows[:MOST_ROWS]]
    return lines + [f"output: {line(text)}" for text in failure.output]


def missing(why: str) -> Concern:
    """The concern that nothing was rehearsed although something is pending."""
    return _concern(
        Answer.REFUSE,
        "not-rehearsed",
        f"the migrations could not be rehearsed: {why}"
        if why
        else ("the migrations were not rehearsed"),
        "fix the cause and try again, or set REHEARSE=off{in .env} to release without a rehearsal, "
        "at your own risk",
    )


# --- Downtime -------------------------------------------------------------------------------------


def swap_seconds(rehearsal: Rehearsal) -> float:
    """For how long nobody can write while a swap copies, migrates and renames the database.

    The time of the rehearsal's own copy counts only if it was made in the same way.
    """
    alike = rehearsal.method == FULL and rehearsal.copied_by == DUMP
    copying = rehearsal.copy_seconds if alike else rehearsal.size_bytes / COPIED_PER_SECOND
    return copying + rehearsal.plain_seconds + EXCHANGE_SECONDS


def longest_lock(trace: Trace) -> Lock | None:
    """The lock that keeps a table from being written or read for the longest time."""
    blocking = [lock for lock in trace.locks if lock.mode in BLOCKS_WRITES]
    return max(blocking, key=lambda lock: (lock.seconds, lock.table), default=None)


def swapped(rehearsal: Rehearsal, answer: Answer, origins: Origins = OWN) -> Concern:
    """The concern that the site cannot write while the migrations are applied to a copy."""
    seconds = duration(swap_seconds(rehearsal))
    why = [f"why: {_blame(rehearsal.failure)}"] if rehearsal.failure else []
    package = origins.of_migration(rehearsal.failure.migration) if rehearsal.failure else ""
    return _concern(
        answer,
        "downtime",
        f"the migrations would block writes for about {seconds}: they cannot run in one "
        "transaction",
        _or_theirs(
            package,
            (
                "fix the migration that fails in one transaction; or wait for a quiet time, then "
                "{accept}"
            ),
            QUIET,
        ),
        why,
    )


def _or_theirs(package: str, usual: str, theirs: str) -> str:
    """The next step; what a package does cannot be written otherwise."""
    return f"{theirs}; or {STAY}: the change comes from {package}" if package else usual


def locked(
    trace: Trace, most_seconds: float, answer: Answer, origins: Origins = OWN
) -> list[Concern]:
    """The concern about existing tables that are locked for more than ``most_seconds``."""
    worst = longest_lock(trace)
    if worst is None or worst.seconds <= most_seconds:
        return []
    whom = "reads and writes" if worst.mode in BLOCKS_READS else "writes"
    over = sorted(
        (lock for lock in trace.locks if _is_over(lock, most_seconds)),
        key=lambda lock: (-lock.seconds, lock.table),
    )
    return [
        _concern(
            answer,
            "downtime",
            f"the migrations would block {whom} of {table(worst.table)} for "
            f"{duration(worst.seconds)}; LOCK_SECONDS allows {most_seconds:g} s",
            _or_theirs(
                origins.of_tables([worst.table]),
                "split the change into smaller steps; or wait for a quiet time, then {accept}",
                QUIET,
            ),
            [f"{table(lock.table)}: {lock.mode} for {duration(lock.seconds)}" for lock in over],
        )
    ]


def _is_over(lock: Lock, most_seconds: float) -> bool:
    return lock.mode in BLOCKS_WRITES and lock.seconds > most_seconds


# --- Losses ---------------------------------------------------------------------------------------


def real(losses: Iterable[Loss]) -> list[Loss]:
    """The losses that lose something, the gravest first."""
    return sorted((loss for loss in losses if loss.count), key=_gravest_first)


def _gravest_first(loss: Loss) -> tuple[int, int, str, str]:
    kinds = ("table", "column", "rounded", "rows")
    return kinds.index(loss.kind), -loss.count, loss.table, loss.name


def loss_sentence(loss: Loss) -> str:
    """``delete column shop_item.note (1,204 values)``."""
    of_table, column = table(loss.table), f"{table(loss.table)}.{loss.name}"
    count = several(loss.count, "row" if loss.kind in ("table", "rows") else "value")
    return {
        "table": f"delete table {of_table} ({count})",
        "column": f"delete column {column} ({count})",
        "rows": f"delete {count} of {of_table}",
        "rounded": f"round or truncate {column} ({count})",
    }[loss.kind]


def lost(
    losses: list[Loss], renames: tuple[str, ...], answer: Answer, origins: Origins = OWN
) -> list[Concern]:
    """The concern about data that would be lost.

    ``losses``: see ``real``. ``renames``: what looks like a rename, in words.
    """
    if not losses:
        return []
    sentences = [loss_sentence(loss) for loss in losses]
    return [
        _concern(
            answer,
            "loss",
            "the migrations would " + listed(sentences, 1),
            _or_theirs(
                origins.of_tables(loss.table for loss in losses),
                "; ".join(renames or ("remove this from the migrations",))
                + "; or, to lose this data on purpose, {accept}",
                "if nobody needs this data, {accept}",
            ),
            sentences if len(sentences) > 1 else (),
        )
    ]


def server_changed(rehearsal: Rehearsal) -> list[Concern]:
    """The concern that the server as a whole changed during the rehearsal."""
    if not rehearsal.server:
        return []
    return [
        _concern(
            Answer.REFUSE,
            "rehearsal",
            "the database server changed during the rehearsal: " + listed(rehearsal.server, 1),
            "if a migration made this change, undo it by hand and remove it from the migration, "
            "because a rehearsal cannot contain it; if a person made it, try again",
            rehearsal.server if len(rehearsal.server) > 1 else (),
        )
    ]


# --- Files ----------------------------------------------------------------------------------------


def files_changed(rehearsal: Rehearsal, answer: Answer) -> list[Concern]:
    """The concern about files that the migrations would change: no rollback restores them."""
    found = [line(str(one)) for one in rehearsal.files]
    if not found or not rehearsal.mode:
        return []
    return [
        _concern(
            answer,
            "files",
            f"the migrations would change {listed(found, 1)}; neither a rollback nor the backup "
            "of the database restores that",
            "move the file changes out of the migration; or copy the files away, then {accept}",
            found if len(found) > 1 else (),
        )
    ]


# --- Drift and compatibility ----------------------------------------------------------------------


def touched_tables(rehearsal: Rehearsal | None) -> frozenset[str] | None:
    """The tables that the pending migrations change; ``None`` if it could be any."""
    if rehearsal is None or rehearsal.trace is None:
        return None
    trace = rehearsal.trace
    return frozenset(trace.altered) | {lock.table for lock in trace.locks if lock.mode in CHANGES}


def touched_drift(
    drift: Iterable[Difference], rehearsal: Rehearsal | None
) -> tuple[Difference, ...]:
    """Alarms of drift on tables that the pending migrations change; all, if it could be any.

    An extra view only reads, so it does not count if the rehearsal succeeded with it. What a
    migration itself drops does not count either.
    """
    tables = touched_tables(rehearsal)
    alarms = (difference for difference in drift if difference.alarm)
    if tables is None:
        return tuple(alarms)
    statements = _statements(rehearsal)
    return tuple(
        alarm
        for alarm in alarms
        if alarm.table in tables and not alarm.only_reads and not _is_dropped(alarm, statements)
    )


def _statements(rehearsal: Rehearsal | None) -> tuple[str, ...]:
    steps = rehearsal.trace.steps if rehearsal is not None and rehearsal.trace is not None else ()
    return tuple(statement.sql for step in steps for statement in step.statements)


def _is_dropped(alarm: Difference, statements: tuple[str, ...]) -> bool:
    """Whether a statement drops the trigger or policy that this is about."""
    if alarm.kind not in ON_TABLES:
        return False
    table = re.escape(alarm.table.rpartition(".")[2])
    drop = re.compile(
        rf'DROP\s+{alarm.kind}\s+(IF\s+EXISTS\s+)?"?{re.escape(alarm.name)}"?\s+ON\s+'
        rf'("?\w+"?\.)?"?{table}"?(?!\w)',
        re.IGNORECASE,
    )
    return any(map(drop.search, statements))


def drifted(
    drift: tuple[Difference, ...],
    explained: tuple[str, ...],
    tables: frozenset[str] | None,
    answer: Answer,
) -> list[Concern]:
    """The concern about drift where the migrations work. ``drift``: see ``touched_drift``."""
    if not drift:
        return []
    where = " in a table that this release changes" if tables is not None else ""
    sentences = [line(difference.what) for difference in drift]
    return [
        _concern(
            answer,
            "drift",
            f"schema drift{where}: {listed(sentences, 1)}",
            f"run `{COMMAND} drift` for the SQL that removes the drift; or {ACCEPT}",
            [
                *(sentences if len(sentences) > 1 else ()),
                *map(line, explained),
                *(text for difference in drift for text in _out_of_the_way(difference)),
            ],
        )
    ]


def _out_of_the_way(difference: Difference) -> list[str]:
    """27: what depends on a column can be dropped for the migration, and made again."""
    if not (difference.sql and difference.again):
        return []
    return [
        f"before the release: {line(' '.join(difference.sql))}",
        f"after the release: {line(' '.join(difference.again))}",
    ]


def incompatible(
    clashes: tuple[Clash, ...],
    serving: str,
    answer: Answer,
    switch_seconds: float = 0.0,
    origins: Origins = OWN,
) -> list[Concern]:
    """The concern about what the serving release cannot work with.

    ``switch_seconds``: from the migrated schema until the new release serves, 0 if unknown.
    """
    if not clashes:
        return []
    release = f"the running version (models of {serving})" if serving else "the running version"
    sentences = [f"{line(clash.what)} (breaks {clash.breaks})" for clash in clashes]
    about = f", for about {duration(switch_seconds)}" if switch_seconds else ""
    return [
        _concern(
            answer,
            "incompatible",
            f"{release} would fail on the new schema until the switch{about}: "
            f"{listed(sentences, 1)}",
            _or_theirs(
                origins.of_tables(clash.table for clash in clashes),
                f"{_without_errors(clashes)}; or accept errors (HTTP 500) until the "
                f"switch{about}: {ACCEPT}",
                f"accept errors (HTTP 500) until the switch{about}, at a quiet time: {ACCEPT}",
            ),
            sentences if len(sentences) > 1 else (),
        )
    ]


def _without_errors(clashes: tuple[Clash, ...]) -> str:
    """How the first clash is avoided; of more, and of a long way, where the rest is shown."""
    steps = clashes[0].steps
    all_of_it = f"`{COMMAND} plan` shows how to avoid the errors"
    if not steps:
        return all_of_it
    return steps[0] if len(steps) == len(clashes) == 1 else f"{steps[0]} ({all_of_it})"
