"""Turn findings into a plan with a verdict. Pure: no connection, no clock, no environment.

Each function of ``refusals`` looks at one part of the findings and returns concerns. The policy of
a concern (ON_LOSS, ON_DRIFT, ...) answers ``allow``, ``ask`` or ``refuse``. The plan is refused if
any concern is, it asks if any concern asks, and it goes otherwise. The checksum covers everything
that a person approves, and nothing that varies between two runs, such as times.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

from postdo.base import formatting
from postdo.base.config import Answer, Policies, Rehearse
from postdo.compatibility.rename_hints import hints
from postdo.plan import notes, refusals
from postdo.plan.findings import Findings, Problem
from postdo.plan.origins import Origins
from postdo.plan.refusals import Concern, Reason
from postdo.rehearsal import file_changes
from postdo.rehearsal.rehearse import FULL, Rehearsal
from postdo.schema.diff import Difference

CHECKSUM_DIGITS = 12  # 48 bits: nobody meets another plan by chance, and it can be typed


@dataclass(frozen=True)
class Plan:
    """What would be done, and whether it may be.

    - ``verdict``: ``nothing`` to do, ``go``, ``ask`` (go, once approved) or ``refuse``.
    - ``headline``: the result for a person, without the verdict's word and without how to approve
      it; ``line`` has all of that.
    - ``mode``: ``transaction``, ``swap`` or empty.
    - ``downtime_seconds``: for how long, at worst, the site cannot write or use a table.
      ``online``: whether the serving release keeps working meanwhile.
    - ``checksum``: of everything that an approval covers; twelve hexadecimal digits.
    - ``notes``: what a person should know although it stops nothing, one line each.
    """

    verdict: str
    headline: str
    mode: str
    downtime_seconds: float
    online: bool | None
    reasons: tuple[Reason, ...]
    checksum: str
    findings: Findings
    notes: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The verdict in one line, for a person."""
        word = "nothing to do" if self.verdict == "nothing" else self.verdict
        approve = (
            f"; approve with {formatting.APPROVE} {self.checksum}" if self.verdict == "ask" else ""
        )
        return f"{word}: {self.headline}{approve}"

    @property
    def touched_drift(self) -> tuple[Difference, ...]:
        """Drift that counts: alarms on tables that a pending migration changes."""
        return _touched(self.findings)


def evidence(reason: Reason, whole: str) -> tuple[str, ...]:
    """The details of a reason, for a person to read before deciding.

    Long lists are shortened, and ``whole`` says where the rest is. SQL and explanations of drift
    are not shortened.
    """
    cut = reason.kind not in ("drift", "rehearsal")
    return formatting.shortened(reason.details, whole) if cut else reason.details


def decide(findings: Findings, policies: Policies) -> Plan:
    """The plan for these findings: each finding becomes a reason, and its policy decides.

    The worst answer is the verdict. Pure: the same findings and policies give the same plan.
    """
    found = _concerns(findings, policies)
    concerns = [refusals.in_words_of(concern, in_kit=policies.in_kit) for concern in found]
    reasons = _refusing_first([c.reason for c in concerns if c.answer is not Answer.ALLOW])
    word = _verdict(findings, reasons)
    mode = _mode(findings, reasons)
    checksum = _checksum(findings, mode, concerns, reasons)
    return Plan(
        verdict=word,
        headline=_headline(word, findings, reasons, policies),
        mode=mode,
        downtime_seconds=_downtime_seconds(findings.rehearsal),
        online=_online(findings, policies),
        reasons=reasons,
        checksum=checksum,
        findings=findings,
        notes=notes.of(findings, policies, concerns),
    )


# --- The verdict ----------------------------------------------------------------------------------


def _concerns(findings: Findings, policies: Policies) -> list[Concern]:
    blocking = [problem for problem in findings.problems if problem.blocking]
    concerns = [_standing_in_the_way(problem) for problem in blocking]
    if not findings.pending:
        return concerns
    rehearsal, origins = findings.rehearsal, _origins(findings)
    if rehearsal is None:
        # What kept the rehearsal from beginning is among the problems, if there are any.
        if not (blocking or _may_go_unrehearsed(findings, policies)):
            concerns.append(refusals.missing(findings.rehearsal_missing))
    else:
        # Nobody waits for a database in which nothing was ever applied.
        nobody = replace(policies, downtime=Answer.ALLOW)
        concerns += _of_rehearsal(rehearsal, nobody if findings.empty else policies, origins)
    concerns += refusals.drifted(
        _touched(findings),
        findings.explained,
        refusals.touched_tables(rehearsal),
        policies.drift,
    )
    concerns += refusals.incompatible(
        findings.clashes or (),
        findings.serving,
        policies.incompatible,
        policies.switch_seconds,
        origins,
    )
    return concerns


def _origins(findings: Findings) -> Origins:
    trace = findings.rehearsal.trace if findings.rehearsal else None
    packages = {one.name: one.package for one in findings.pending}
    return Origins(packages, trace.steps if trace else ())


def _of_rehearsal(rehearsal: Rehearsal, policies: Policies, origins: Origins) -> list[Concern]:
    concerns = refusals.failed(rehearsal, origins)
    concerns += refusals.files_changed(rehearsal, policies.files)
    concerns += refusals.server_changed(rehearsal)
    if rehearsal.mode == "swap":
        concerns.append(refusals.swapped(rehearsal, policies.downtime, origins))
    if rehearsal.trace is None:
        return concerns
    if rehearsal.mode == "transaction":
        most = policies.lock_seconds
        concerns += refusals.locked(rehearsal.trace, most, policies.downtime, origins)
    trace = rehearsal.trace
    losses = refusals.real(trace.losses)
    renamed = hints(losses, trace.before, trace.after, trace.renames)
    return concerns + refusals.lost(losses, renamed, policies.loss, origins)


def _standing_in_the_way(problem: Problem) -> Concern:
    reason = Reason(
        formatting.line(problem.what), problem.next_step, "", False, problem.details, "problem"
    )
    return Concern(reason, Answer.REFUSE)


def _may_go_unrehearsed(findings: Findings, policies: Policies) -> bool:
    return findings.empty or policies.rehearse is Rehearse.OFF


def _refusing_first(reasons: list[Reason]) -> tuple[Reason, ...]:
    return tuple(sorted(reasons, key=lambda reason: reason.approvable))


def _verdict(findings: Findings, reasons: tuple[Reason, ...]) -> str:
    if any(not reason.approvable for reason in reasons):
        return "refuse"
    if not findings.pending:
        return "nothing"
    return "ask" if reasons else "go"


def _mode(findings: Findings, reasons: tuple[Reason, ...]) -> str:
    if findings.rehearsal is not None:
        return findings.rehearsal.mode
    refused = any(not reason.approvable for reason in reasons)
    return "transaction" if findings.pending and not refused else ""


def _touched(findings: Findings) -> tuple[Difference, ...]:
    if not findings.pending or notes.may_be_rewritten(findings):
        return ()
    return refusals.touched_drift(findings.drift or (), findings.rehearsal)


# --- What it means for the site -------------------------------------------------------------------


def _downtime_seconds(rehearsal: Rehearsal | None) -> float:
    if rehearsal is None or rehearsal.trace is None:
        return 0.0
    if rehearsal.mode == "swap":
        return refusals.swap_seconds(rehearsal)
    worst = refusals.longest_lock(rehearsal.trace)
    return worst.seconds if worst else 0.0


def _online(findings: Findings, policies: Policies) -> bool | None:
    if not findings.pending:
        return True
    if findings.clashes:
        return False
    rehearsal = findings.rehearsal
    if rehearsal is None or rehearsal.trace is None:
        return None
    worst = refusals.longest_lock(rehearsal.trace)
    too_long = worst is not None and worst.seconds > policies.lock_seconds
    if rehearsal.mode == "swap" or too_long:
        return False
    # Without rows a lock says nothing about how long it would be held.
    known = findings.clashes is not None and (rehearsal.method == FULL or worst is None)
    return True if known else None


# --- What an approval approves --------------------------------------------------------------------


def _checksum(
    findings: Findings, mode: str, concerns: list[Concern], reasons: tuple[Reason, ...]
) -> str:
    """Over what is decided, not over how long it took, in which order or on which machine."""
    rehearsal = findings.rehearsal
    losses = rehearsal.trace.losses if rehearsal and rehearsal.trace else ()
    stops = any(concern.reason.kind == "downtime" for concern in concerns)
    approved = {
        "pending": sorted([p.name, p.checksum] for p in findings.pending),
        "mode": mode,
        "losses": sorted(
            [loss.kind, loss.table, loss.name, len(str(loss.count))]
            for loss in refusals.real(losses)
        ),
        "clashes": sorted([c.table, c.what, c.breaks] for c in findings.clashes or ()),
        "drift": sorted([d.kind, d.table, d.name, d.what] for d in _touched(findings)),
        "downtime": mode if stops else "",
        "reasons": sorted({reason.kind for reason in reasons}),
    }
    if files := file_changes.approved(rehearsal.files if rehearsal else ()):
        approved["files"] = files
    text = json.dumps(approved, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:CHECKSUM_DIGITS]


# --- In words -------------------------------------------------------------------------------------


def _headline(
    word: str, findings: Findings, reasons: tuple[Reason, ...], policies: Policies
) -> str:
    if word == "nothing":
        alarms = sum(difference.alarm for difference in findings.drift or ())
        drift = (
            (f"; the schema has drifted in {formatting.several(alarms, 'place')}") if alarms else ""
        )
        return f"all migrations are applied{drift}"
    if word == "go":
        return formatting.several(len(findings.pending), "migration") + _how(findings, policies)
    more = f"; {formatting.several(len(reasons) - 1, 'more reason')}" if len(reasons) > 1 else ""
    return f"{reasons[0].what}{more}"


def _how(findings: Findings, policies: Policies) -> str:
    rehearsal = findings.rehearsal
    if rehearsal is None:
        return " on an empty database" if findings.empty else ", not rehearsed (REHEARSE=off)"
    if rehearsal.mode == "swap":
        return f", writes blocked for about {formatting.duration(refusals.swap_seconds(rehearsal))}"
    goes_on = ", no downtime" if _online(findings, policies) else ""
    worst = refusals.longest_lock(rehearsal.trace) if rehearsal.trace else None
    if worst is None:
        return f"{goes_on}, no table is locked"
    if rehearsal.method != FULL:
        return f", rehearsed without rows, locks {formatting.table(worst.table)}"
    longest = f"{formatting.duration(worst.seconds)} on {formatting.table(worst.table)}"
    return f"{goes_on}, longest lock {longest}"
