"""The commands that look at production and change nothing: plan, drift, rehearse, sources."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from postdo import history
from postdo.errors import Misconfigured, Refused, one_line
from postdo.memory.journal import Journal, RunRecord
from postdo.memory.sources import SourcesReport
from postdo.memory.sources import sources as compare_sources
from postdo.planning.gate import refusal
from postdo.planning.look import make_plan
from postdo.planning.plan import Plan
from postdo.planning.subject import Subject
from postdo.prepare import database
from postdo.project import load, set_up
from postdo.rehearsing.rehearsal import Rehearsal, rehearse
from postdo.report import as_json, html, text
from postdo.run import Run
from postdo.schema import drift
from postdo.words import duration, several


@dataclass(frozen=True)
class Planned:
    """A plan as the commands give it back."""

    plan: Plan

    def to_values(self) -> dict[str, Any]:
        """The documented form (docs/plan-json.md)."""
        return as_json.render(self.plan)


@dataclass(frozen=True)
class Rehearsed:
    """How the copy and the run on it went."""

    rehearsal: Rehearsal

    def to_values(self) -> dict[str, Any]:
        """Without the two schemas, which are long."""
        return as_json.rehearsal(self.rehearsal)


@dataclass(frozen=True)
class Looked:
    """What ``drift`` found, or the repair that it made."""

    found: drift.Drift | None
    repaired: drift.Explanation | None

    def to_values(self) -> dict[str, Any]:
        """Differences and explanations, as values."""
        return {
            "differences": [asdict(one) for one in self.found.differences] if self.found else [],
            "explanations": [asdict(one) for one in self.found.explanations] if self.found else [],
            "repaired": asdict(self.repaired) if self.repaired else None,
        }


@contextmanager
def _subject(run: Run) -> Iterator[Subject]:
    project = load(run.config.settings_module)
    set_up()
    with database(run) as session:
        yield Subject(run, project, session, history.read(session, project), Journal(run, session))


def plan(run: Run, arguments: argparse.Namespace) -> Planned:
    """The ``plan`` command. Raises ``Refused`` if ``migrate`` would, after the report."""
    with _subject(run) as subject:
        for last in subject.journal.runs(1):
            run.console.say(f"last change: {_told(last)}")
        made = make_plan(subject)
    if arguments.html is not None:
        _write(run, arguments.html, html.render(made))
    if not arguments.json:
        run.console.show(text.render(made, run.console.columns, colour=run.console.terminal))
    if made.verdict in ("ask", "refuse"):
        raise refusal(run, made, "", result=Planned(made))
    return Planned(made)


def rehearse_only(run: Run, arguments: argparse.Namespace) -> Rehearsed:
    """The ``rehearse`` command. Raises ``Refused`` if the migrations fail on the copy."""
    with _subject(run) as subject:
        done = rehearse(run, subject.session)
    if not arguments.json:
        run.console.show(text.render_rehearsal(done, run.console.columns))
    failure = done.plain_failure or done.failure
    if failure is not None and not done.mode:
        raise Refused(
            f"{failure.migration or 'the run'} fails on a copy of the data: {failure.what}",
            f"read the whole: {run.config.postdo('plan')}",
            details=failure.rows,
        )
    return Rehearsed(done)


def look_for_drift(run: Run, arguments: argparse.Namespace) -> Looked:
    """The ``drift`` command. Raises ``Refused`` if there is any that matters."""
    with _subject(run) as subject:
        for how in ("record", "unrecord"):
            name = getattr(arguments, how)
            if name:
                return Looked(None, drift.repair(subject, name, how))
        found = drift.find(subject) or drift.Drift((), ())
    if not arguments.json:
        explained = tuple(map(str, found.explanations))
        run.console.show(text.render_drift(found.differences, explained, run.console.columns))
    if found.alarms:
        raise Refused(
            f"the real schema differs from the migrations in {len(found.alarms)} places",
            _how_to_mend(run, found),
            details=tuple(one.what for one in found.alarms),
            result=Looked(found, None),
        )
    return Looked(found, None)


def list_sources(run: Run, arguments: argparse.Namespace) -> SourcesReport:
    """The ``sources`` command."""
    project = load(run.config.settings_module)
    with database(run) as session:
        return compare_sources(run, project, session, tuple(arguments.restore), arguments.into)


def _how_to_mend(run: Run, found: drift.Drift) -> str:
    if found.explanations:
        first = found.explanations[0]
        return run.config.postdo(f"drift --{first.repair} {first.migration}")
    return (
        "the report has the SQL that removes each difference; take a backup, then run what is right"
    )


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
        print(page, flush=True)
        return
    try:
        path.write_text(page, encoding="utf-8")
        run.console.say(f"the report is in {path}")
    except OSError as error:
        raise Misconfigured(
            f"{path} cannot be written: {one_line(error)}", "name a file in a folder that can be"
        ) from error


COMMANDS: dict[str, Callable[[Run, argparse.Namespace], object]] = {
    "plan": plan,
    "drift": look_for_drift,
    "rehearse": rehearse_only,
    "sources": list_sources,
}
