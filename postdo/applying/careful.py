"""The way of production: plan, gate, apply, and remember, so that a change ends in one of three.

Done, refused with nothing touched, or undone with the database as before. Called under the lock.
"""

from __future__ import annotations

import getpass
import json
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.applying import swap
from postdo.applying.apply import in_one_transaction
from postdo.console import Stopwatch
from postdo.copying import backup
from postdo.copying.backup_folder import remove
from postdo.database import rows
from postdo.errors import PostdoError, Refused, Undone
from postdo.history import RECORDED, History
from postdo.memory.journal import Journal, RunRecord
from postdo.memory.sources import read_sources
from postdo.planning.gate import pass_gate
from postdo.planning.look import make_plan, present_use
from postdo.planning.plan import Plan
from postdo.planning.subject import Subject
from postdo.project import Project
from postdo.rehearsing.trace import Trace
from postdo.report import as_json
from postdo.run import Run
from postdo.schema.advance import advance
from postdo.schema.catalogue import Catalogue, read
from postdo.schema.expected import key


@dataclass(frozen=True)
class _Change:
    """A plan that is being carried out, since ``began``; ``was``: the schema before it."""

    subject: Subject
    plan: Plan
    began: datetime
    watch: Stopwatch
    was: Catalogue

    def record(self, outcome: str, what: str, applied: tuple[str, ...]) -> RunRecord:
        return RunRecord(
            began=self.began,
            seconds=self.watch.seconds,
            outcome=outcome,
            mode=self.plan.mode,
            what=what,
            release=self.subject.run.config.release,
            who=f"{_user()}@{self.subject.run.config.host}",
            checksum=self.plan.checksum,
            applied=applied,
            plan=json.dumps(as_json.render(self.plan)),
        )


def carry_out(
    run: Run, project: Project, session: BaseDatabaseWrapper, before: History, approval: str
) -> tuple[tuple[str, ...], str, str]:
    """Plan and apply what is pending. Returns what was applied, in which mode, by which plan.

    ``approval``: the checksum of a plan that a person approves. Raises ``Refused`` or ``Undone``.
    """
    journal = Journal(run, session)
    journal.prepare()
    subject = Subject(run, project, session, before, journal)
    began, watch = datetime.now(timezone.utc), Stopwatch()
    change = _Change(subject, make_plan(subject), began, watch, read(session))
    try:
        pass_gate(run, change.plan, approval)
        applied = _apply(change)
    except PostdoError as error:
        _remember_failure(change, error)
        _forget_backup(change, error)
        raise
    backup.prune(run, session)
    return applied, change.plan.mode or "transaction", change.plan.checksum


def _apply(change: _Change) -> tuple[str, ...]:
    if change.plan.mode == "swap":
        return _swap(change)
    rehearsal = change.plan.findings.rehearsal
    try:
        return in_one_transaction(
            change.subject.run,
            change.subject.session,
            _to_be(change),
            lambda worker: _remember(change, worker),
            compare_rows=rehearsal is not None and rehearsal.method == "full",
        ).names
    except Undone as error:
        other = _other_way(change, error)
        if other is None:
            raise
        return _swap(other)


def _to_be(change: _Change) -> Trace | None:
    """What was rehearsed, as it has to come out here: the same change, on the real schema.

    A copy may lack what its role cannot create (an extension), and in the meantime somebody may
    have made an index: neither is what the migrations did.
    """
    rehearsal = change.plan.findings.rehearsal
    if rehearsal is None or rehearsal.trace is None:
        return None
    trace = rehearsal.trace
    return replace(trace, after=advance(change.was, trace.before, trace.after))


def _other_way(change: _Change, error: Undone) -> _Change | None:
    """An empty database is tried without a rehearsal; if that fails, the rehearsal knows why."""
    subject = change.subject
    if not change.plan.findings.empty or change.plan.findings.rehearsal is not None:
        return None
    subject.run.console.say(f"not in one transaction: {error.what}; looking for another way")
    plan = make_plan(subject, always_rehearse=True)
    if plan.mode != "swap":
        return None
    return _Change(subject, plan, change.began, change.watch, change.was)


def _swap(change: _Change) -> tuple[str, ...]:
    subject = change.subject
    rehearsal = change.plan.findings.rehearsal
    swapped = swap.swap(
        subject.run,
        subject.session,
        rehearsal.trace if rehearsal else None,
        lambda worker: _remember(change, worker),
    )
    # What the session was connected to has another name now.
    if swapped.session is not None:
        swapped.session.close()
    subject.session.close()
    subject.session.ensure_connection()
    return swapped.names


def _remember(change: _Change, worker: BaseDatabaseWrapper) -> None:
    """Write the journal through the session that makes the change: both are kept, or neither."""
    subject = change.subject
    journal = Journal(subject.run, worker)
    recorded = frozenset((app, name) for app, name in rows(worker, RECORDED))
    fresh = recorded - subject.before.recorded
    archived = journal.sources().keys()
    known = subject.before.on_disk | archived
    # The file of what was applied earlier may have been edited since: what is archived, stays.
    journal.keep_sources(
        read_sources(subject.project, fresh | ((recorded & subject.before.on_disk) - archived))
    )
    was = subject.before.recorded & known
    # What an empty database has (its schema, extensions) belongs to it. And at the first look what
    # is there is taken as it is, because packages rewrite the migrations that once made it.
    found = change.plan.findings
    expected_before = (
        change.was
        if found.empty or found.first_look
        else journal.expected(key(was, change.was.major))
    )
    if expected_before is not None:
        after = advance(expected_before, change.was, read(worker))
        journal.keep_expected(key(recorded & known, after.major), after, recorded & known)
    journal.keep_model_use(present_use(subject.run))
    applied = tuple(
        one.name for one in change.plan.findings.pending if tuple(one.name.split(".", 1)) in fresh
    )
    journal.record(change.record("done", change.plan.line, applied))


def _remember_failure(change: _Change, error: PostdoError) -> None:
    outcome = "undone" if isinstance(error, Undone) else type(error).__name__.lower()
    change.subject.journal.record(change.record(outcome, error.what, ()))


def _forget_backup(change: _Change, error: PostdoError) -> None:
    """Nothing was touched: the backup of a refused change must not push out that of a real one."""
    rehearsal = change.plan.findings.rehearsal
    if isinstance(error, Refused) and rehearsal is not None and rehearsal.backup:
        remove(Path(rehearsal.backup))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"
