"""Release: plan, check the approval, apply, and record. Called while the advisory lock is held.

A release has one of three outcomes: done; refused, and nothing was changed; or undone, and the
database is unchanged. (In concurrent mode it can also fail half way.) The steps:

1. ``build_plan.make_plan`` checks and rehearses. An approved plan may reuse its rehearsal
   (``plan.kept``).
2. ``plan.approval.require_approval`` stops a plan that is refused, or that nobody approved.
3. The migrations are applied in the mode of the plan: in one transaction, by a swap, or
   concurrently. The journal is written in the same transaction, so that both stay or neither does.
4. If a release with a reused rehearsal is undone, the data may have changed since: it is rehearsed
   again, and applied if the plan is still the same.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from django.db import DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.apply import concurrent
from postdo.apply.lock_timeout import BusyError
from postdo.apply.one_transaction import in_one_transaction
from postdo.base import advisory_lock
from postdo.base.config import Answer
from postdo.base.console import Stopwatch
from postdo.base.context import Run
from postdo.base.database import rows
from postdo.base.errors import NotUndone, PostdoError, Refused, Undone, one_line
from postdo.base.project import Project
from postdo.base.signals import Stopped
from postdo.django_migrations.history import RECORDED, History, Name, dotted
from postdo.drift.subject import Subject, read_subject
from postdo.journal.journal import Journal, RunRecord
from postdo.plan import kept
from postdo.plan.approval import require_approval
from postdo.plan.decide import Plan
from postdo.rehearsal.trace import Trace
from postdo.release import backups
from postdo.release.build_plan import make_plan
from postdo.release.record import keep_sources, remember, who
from postdo.report import as_json
from postdo.schema.catalogue import Catalogue, read
from postdo.schema.expected_change import advance
from postdo.schema.normalize import worded
from postdo.swap import swap

# As the journal has them, besides "done".
OUTCOMES: dict[type[PostdoError], str] = {Undone: "undone", NotUndone: "not-undone"}
STOPPED = "stopped"
# Where the WAL is and what time it is, in seconds: PostgreSQL 14 and newer.
PLACE = """
SELECT pg_current_wal_insert_lsn()::text || ' ' || extract(epoch FROM clock_timestamp())::bigint
"""
BEGUN = "begun"  # of a concurrent run that nobody can say the end of: it was killed


@dataclass
class _Change:
    """A plan that is being carried out, since ``began``; ``was``: the schema before it.

    Another plan takes its place where an empty database needs another way, or where a rehearsal
    that was kept does not hold any more. ``code``: of the project, before the rehearsal; empty
    where that is not to be kept.
    """

    subject: Subject
    plan: Plan
    began: datetime
    watch: Stopwatch
    was: Catalogue
    code: Mapping[str, str]

    def record(self, outcome: str, what: str, applied: tuple[str, ...]) -> RunRecord:
        return RunRecord(
            began=self.began,
            seconds=self.watch.seconds,
            outcome=outcome,
            mode=self.plan.mode,
            what=what,
            release=self.subject.run.config.release,
            who=who(self.subject.run),
            checksum=self.plan.checksum,
            applied=applied,
            plan=json.dumps(as_json.render(self.plan)),
        )


def run_release(
    run: Run,
    project: Project,
    session: BaseDatabaseWrapper,
    before: History,
    approval: str,
    *,
    concurrently: bool = False,
) -> tuple[tuple[str, ...], str, str]:
    """Plan and apply what is pending. Returns what was applied, in which mode, by which plan.

    ``approval``: the checksum of a plan that a person approved. ``concurrently``: use the mode that
    keeps CONCURRENTLY. Raises ``Refused`` or ``Undone``; ``NotUndone`` normally only in that mode.
    """
    if concurrently:  # nobody waits for what one transaction, or a swap, would hold up
        policies = replace(run.config.policies, downtime=Answer.ALLOW)
        run = replace(run, config=replace(run.config, policies=policies))
    journal = Journal(run, session)
    journal.prepare()
    subject = read_subject(run, project, session, before, journal)
    began, watch = datetime.now(timezone.utc), Stopwatch()
    with backups.no_unfinished(run, session):
        with _nothing_changed():
            code = {} if concurrently or subject.empty else kept.code_of(run, project)
            approved = kept.Approved(approval, code) if approval and code else None
            plan = make_plan(subject, approved=approved, with_sql=False)
            change = _Change(subject, plan, began, watch, read(session), code)
        with _remembering_failure(change):
            if not (concurrently and _goes_on(change)):
                _pass_gate(change, approval)
            backups.finish(change.plan)
            applied = _concurrently(change) if concurrently else _apply(change, approval)
        backups.tell(run, change.plan)
        backups.prune(run, session)
    return applied, change.plan.mode or "transaction", change.plan.checksum


@contextmanager
def _nothing_changed() -> Iterator[None]:
    """What nobody foresaw is no more than a refusal, as long as the copy alone was touched."""
    try:
        yield
    except (PostdoError, DatabaseError, InterfaceError):
        raise
    except Exception as error:
        traceback.print_exception(error)
        raise Refused(
            f"no plan could be made: {type(error).__name__}: {one_line(error)}",
            "fix the cause in the project or on this machine; if it is in neither, report the "
            "lines above as a bug of postdo",
        ) from error


def _pass_gate(change: _Change, approval: str) -> None:
    try:
        require_approval(change.subject.run, change.plan, approval)
    except Refused:
        kept.keep(change.subject, change.plan, change.code, change.was)
        raise


def _note_place(change: _Change) -> None:
    """Say from where the database can be recovered as it was before the migrations."""
    with suppress(DatabaseError, InterfaceError):
        ((place,),) = rows(change.subject.session, PLACE)
        change.subject.run.console.facts.add("before", place)


def _apply(change: _Change, approval: str) -> tuple[str, ...]:
    _note_place(change)
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
            changes=rehearsal.changes if rehearsal else None,
            no_more_deleted=rehearsal is not None and rehearsal.reused,
        ).names
    except Undone as error:
        if not (_rehearsed_again(change, error) or _found_another_way(change, error)):
            raise
        _pass_gate(change, approval)
        backups.finish(change.plan)
        return _apply(change, approval)


def _rehearsed_again(change: _Change, error: Undone) -> bool:
    """The change with a rehearsal that was kept is undone: the data may be others, so look anew."""
    rehearsal, subject = change.plan.findings.rehearsal, change.subject
    gave_up = isinstance(error.__cause__, BusyError) or not advisory_lock.is_held(subject.session)
    if gave_up or rehearsal is None or not rehearsal.reused:
        return False
    kept.anew(subject, f"the release was rolled back: {error.what}")
    backups.forget(change.plan)
    change.code = kept.code_of(subject.run, subject.project)
    change.plan, change.was = make_plan(subject, with_sql=False), read(subject.session)
    return True


def _goes_on(change: _Change) -> bool:
    """Whether this is the rest of a concurrent run that passed the gate and did not get to its end.

    What it left (an unfinished index) would be drift, and in the way of another rehearsal. A file
    that was edited since has passed no gate.
    """
    pending = {(one.name, one.checksum) for one in change.plan.findings.pending}
    for last in change.subject.journal.runs(1):
        unfinished = last.outcome in (BEGUN, OUTCOMES[NotUndone])
        if last.mode == concurrent.MODE and unfinished and pending <= _passed(last):
            change.subject.run.console.say(f"resuming the run of {last.began:%Y-%m-%d %H:%M %Z}")
            return True
    return False


def _passed(record: RunRecord) -> set[tuple[str, str]]:
    """Names and checksums of what was pending then; nothing if the record is damaged."""
    try:
        return {(one["name"], one["checksum"]) for one in json.loads(record.plan)["pending"]}
    except (ValueError, TypeError, LookupError):
        return set()


def _concurrently(change: _Change) -> tuple[str, ...]:
    _note_place(change)
    subject = change.subject
    change.plan = replace(change.plan, mode=concurrent.MODE)
    subject.journal.record(change.record(BEGUN, change.plan.line, ()))
    names = concurrent.apply_concurrently(subject.run, subject.session, subject.before)
    with suppress(DatabaseError, InterfaceError):  # the change is made, whatever comes now
        _remember(change, subject.session)
    return names


def _to_be(change: _Change) -> Trace | None:
    """What was rehearsed, as it has to come out here: the same change, on the real schema.

    A copy may lack what its role cannot create (an extension), and in the meantime somebody may
    have made an index: neither is what the migrations did.
    """
    rehearsal = change.plan.findings.rehearsal
    if rehearsal is None or rehearsal.trace is None:
        return None
    trace = rehearsal.trace
    was = worded(change.subject.session, change.was, trace.before)
    return replace(trace, after=advance(was, trace.before, trace.after))


def _found_another_way(change: _Change, error: Undone) -> bool:
    """An empty database is tried without a rehearsal; if that fails, the rehearsal knows why."""
    subject = change.subject
    if not change.plan.findings.empty or change.plan.findings.rehearsal is not None:
        return False
    subject.run.console.say(
        f"the migrations failed in one transaction: {error.what}; rehearsing them to find another "
        "way"
    )
    plan = make_plan(subject, always_rehearse=True, with_sql=False)
    if plan.mode != "swap":
        return False
    change.plan = plan
    return True


def _swap(change: _Change) -> tuple[str, ...]:
    subject = change.subject
    rehearsal = change.plan.findings.rehearsal
    swapped = swap.swap(
        subject.run,
        subject.session,
        rehearsal.trace if rehearsal else None,
        lambda worker: _remember(change, worker),
    )
    # What these sessions were connected to has another name now.
    connections.close_all()
    subject.session.close()
    with suppress(DatabaseError, InterfaceError):  # the change is made, whatever comes now
        subject.session.ensure_connection()
    return swapped.names


def _remember(change: _Change, worker: BaseDatabaseWrapper) -> None:
    """Write the journal through the session that makes the change: both are kept, or neither.

    What an empty database has (its schema, extensions) belongs to it. And at the first look what
    is there is taken as it is, because packages rewrite the migrations that once made it.
    """
    found, journal = change.plan.findings, Journal(change.subject.run, worker)
    as_it_is = found.empty or found.first_look
    journal.forget_rehearsal()
    fresh = remember(change.subject, journal, worker, change.was, as_it_is=as_it_is)
    applied = tuple(one.name for one in found.pending if tuple(one.name.split(".", 1)) in fresh)
    journal.record(change.record("done", change.plan.line, applied))


@contextmanager
def _remembering_failure(change: _Change) -> Iterator[None]:
    try:
        yield
    except PostdoError as error:
        _remember_failure(change, error)
        if isinstance(error, (Refused, Undone)):
            backups.forget(change.plan)
        raise
    except Stopped as stopped:
        # After the end of a change, or in the middle of a concurrent one, the journal has it.
        if _is_as_before(change) and change.plan.mode != concurrent.MODE:
            change.subject.journal.record(change.record(STOPPED, f"by {stopped}", ()))
            backups.forget(change.plan)
        raise


def _remember_failure(change: _Change, error: PostdoError) -> None:
    subject, stays = change.subject, frozenset[Name]()
    if isinstance(error, NotUndone):
        # It may be a part of a migration, so that no schema is expected of it.
        with suppress(DatabaseError, InterfaceError):
            recorded = _recorded(subject)
            keep_sources(subject, subject.journal, recorded)
            stays = recorded - subject.before.recorded
    applied = tuple(dotted((name,)) for name in sorted(stays))
    outcome = OUTCOMES.get(type(error), "refused")
    subject.journal.record(change.record(outcome, error.what, applied))


def _is_as_before(change: _Change) -> bool:
    with suppress(DatabaseError, InterfaceError):
        return _recorded(change.subject) == change.subject.before.recorded
    return False


def _recorded(subject: Subject) -> frozenset[Name]:
    return frozenset((app, name) for app, name in rows(subject.session, RECORDED))
