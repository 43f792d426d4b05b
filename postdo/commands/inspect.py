"""The commands that look at production: plan, drift, rehearse, sources, needs-copy.

They change nothing in it, but for the one record that ``drift --record`` or ``--unrecord`` names.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.console import deliver
from postdo.base.context import Run
from postdo.base.errors import Misconfigured, Refused
from postdo.base.formatting import duration, several
from postdo.base.project import Project, load, set_up
from postdo.commands.prepare import database
from postdo.copy.base_backup import wants_copy
from postdo.django_migrations import history
from postdo.drift import drift
from postdo.drift.subject import Subject, read_subject
from postdo.journal.journal import Journal, RunRecord
from postdo.journal.sources import SourcesReport, text_of
from postdo.journal.sources import sources as compare_sources
from postdo.plan import kept
from postdo.plan.approval import refusal
from postdo.plan.decide import Plan
from postdo.rehearsal.rehearse import Rehearsal, rehearse
from postdo.release.build_plan import make_plan, needs_copy
from postdo.report import as_json, html, text
from postdo.schema.diff import Difference


@dataclass(frozen=True)
class Planned:
    """The result of the ``plan`` command."""

    plan: Plan

    def to_values(self) -> dict[str, Any]:
        """The plan as documented in docs/plan-json.md."""
        return as_json.render(self.plan)


@dataclass(frozen=True)
class Rehearsed:
    """The result of the ``rehearse`` command: the copy, and the run on it."""

    rehearsal: Rehearsal

    def to_values(self) -> dict[str, Any]:
        """The rehearsal as values, without the two schemas, which are long."""
        return as_json.rehearsal(self.rehearsal)


@dataclass(frozen=True)
class Looked:
    """The result of the ``drift`` command: what it found and why, or the repair that it made."""

    differences: tuple[Difference, ...]
    explanations: tuple[drift.Explanation, ...]
    repaired: drift.Explanation | None

    def to_values(self) -> dict[str, Any]:
        """Differences and explanations, as values."""
        return {
            "differences": [asdict(one) for one in self.differences],
            "explanations": [asdict(one) for one in self.explanations],
            "repaired": asdict(self.repaired) if self.repaired else None,
        }


@dataclass(frozen=True)
class CopyNeeded:
    """The result of the ``needs-copy`` command: whether a base backup is needed."""

    copy: bool


@contextmanager
def _opened(run: Run) -> Iterator[tuple[Project, BaseDatabaseWrapper]]:
    project = load(run.config.settings_module)
    set_up()
    with database(run) as session:
        yield project, session


@contextmanager
def _subject(run: Run) -> Iterator[Subject]:
    with _opened(run) as (project, session):
        before = history.read(session, project)
        yield read_subject(run, project, session, before, Journal(run, session))


def plan(run: Run, arguments: argparse.Namespace) -> Planned:
    """The ``plan`` command. After the report it raises ``Refused`` if ``migrate`` would."""
    # Who only looks keeps no backup: it would take the place of one from before a change.
    with _subject(run.without_backups()) as subject:
        for last in subject.journal.runs(1):
            run.console.say(f"last change: {_told(last)}")
        made = make_plan(subject)
    if arguments.html is not None:
        _write(run, arguments.html, html.render(made, run.config.approve(made.checksum)))
    if not arguments.json:
        approve = run.config.approve(made.checksum)
        run.console.show(
            text.render(made, run.console.columns, colour=run.console.terminal, approve=approve)
        )
    if made.verdict in ("ask", "refuse"):
        refused = refusal(run, made, "", result=Planned(made))
        # The report has said all of it.
        refused.details = refused.details if arguments.json else ()
        raise refused
    return Planned(made)


def rehearse_only(run: Run, arguments: argparse.Namespace) -> Rehearsed:
    """The ``rehearse`` command. Raises ``Refused`` if the migrations fail on the copy."""
    with _opened(run) as (_, session):
        done = rehearse(run.without_backups(), session)
    if not arguments.json:
        in_kit = run.config.in_kit
        run.console.show(text.render_rehearsal(done, run.console.columns, in_kit=in_kit))
    failure = done.plain_failure or done.failure
    if failure is not None and not done.mode:
        raise Refused(
            f"{failure.migration or 'the migrations'} failed in the rehearsal: {failure.what}",
            f"see the whole report: {run.config.postdo('plan')}",
            details=failure.rows if arguments.json else (),
        )
    return Rehearsed(done)


def ask_for_copy(run: Run, arguments: argparse.Namespace) -> CopyNeeded:
    """The ``needs-copy`` command. ``rehearse`` runs whatever is pending; the others may refuse."""
    with _subject(run) as subject:
        if arguments.of == "rehearse":
            needed = not subject.before.settled and wants_copy(run, subject.session)
        else:
            needed = needs_copy(subject) and not _is_rehearsed(subject, arguments.of)
    answer = "yes" if needed else "no"
    run.console.facts.add("copy", answer)
    run.console.say(f"base backup needed for the rehearsal: {answer}")
    return CopyNeeded(needed)


def _is_rehearsed(subject: Subject, command: str) -> bool:
    """Whether a release would reuse the rehearsal of the plan that is approved."""
    run = subject.run
    if command != "prepare":
        return False
    approved = kept.approved(run, subject.project, run.config.approval)
    return approved is not None and kept.is_usable(subject, approved)


def look_for_drift(run: Run, arguments: argparse.Namespace) -> Looked:
    """The ``drift`` command. Raises ``Refused`` if there is drift that matters."""
    for how in ("record", "unrecord"):
        name = getattr(arguments, how)
        if name:
            with _opened(run) as (project, session):
                return Looked((), (), drift.repair(run, project, session, name, how))
    with _subject(run) as subject:
        found = drift.find(subject) or ()
        reasons = drift.explain(subject, found)
        found = drift.try_sql(subject, found)
    if not arguments.json:
        explained = tuple(map(str, reasons))
        run.console.show(text.render_drift(found, explained, run.console.columns))
    alarms = tuple(one.what for one in found if one.alarm)
    looked = Looked(found, reasons, None)
    if reasons and not alarms:
        run.console.say(f"next: {_how_to_mend(run, reasons, found)}")
    if alarms:
        raise Refused(
            f"the schema has drifted in {several(len(alarms), 'place')}",
            _how_to_mend(run, reasons, found),
            details=alarms if arguments.json else (),
            result=looked,
        )
    return looked


def list_sources(run: Run, arguments: argparse.Namespace) -> SourcesReport | None:
    """The ``sources`` command; ``None`` if it printed the text of one migration."""
    project = load(run.config.settings_module)
    with database(run) as session:
        if arguments.show is None:
            return compare_sources(run, project, session)
        deliver(sys.stdout, text_of(run, session, arguments.show))
    return None


def _how_to_mend(
    run: Run, reasons: tuple[drift.Explanation, ...], found: tuple[Difference, ...]
) -> str:
    if reasons:
        return run.config.postdo(f"drift --{reasons[0].repair} {reasons[0].migration}")
    if not any(one.sql for one in found if one.alarm):
        return (
            "fix the differences that have no SQL by hand, then check again: "
            + run.config.postdo("drift")
        )
    return f"take a backup, then paste the SQL that you want into: {run.config.psql}"


def _told(record: RunRecord) -> str:
    """A run of ``migrate`` in one line."""
    applied = several(len(record.applied), "migration")
    release = f" by release {record.release}" if record.release else ""
    return (
        f"{record.began:%Y-%m-%d %H:%M %Z}{release} ({record.who}): {record.outcome}, {applied}, "
        f"{duration(record.seconds)}"
    )


def _write(run: Run, path: Path, page: str) -> None:
    if str(path) == "-":
        deliver(sys.stdout, f"{page}\n")
        return
    try:
        path.write_text(page, encoding="utf-8")
        run.console.say(f"the report is in {path}")
    except OSError as error:
        raise Misconfigured(
            f"{path} cannot be written: {error.strerror}",
            "name a file in a writable folder: --html FILE",
        ) from error


COMMANDS: dict[str, Callable[[Run, argparse.Namespace], object]] = {
    "plan": plan,
    "drift": look_for_drift,
    "rehearse": rehearse_only,
    "needs-copy": ask_for_copy,
    "sources": list_sources,
}
