"""Collect all findings of a plan, in order. ``plan.decide`` decides what they mean.

Cheap checks come first: the history of migrations, the models, Django's system checks. If they find
something that blocks the release, the rehearsal is skipped. Otherwise the migrations are rehearsed,
and the checks that need the rehearsal's result follow: the server, the compatibility of the running
version, drift in the tables that the migrations change.
"""

from __future__ import annotations

from dataclasses import replace

import django
from django.apps import apps as registry
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from postdo.base.config import Answer, Policy, Rehearse
from postdo.base.context import Run
from postdo.base.database import rows, target
from postdo.base.errors import Refused
from postdo.base.system_checks import require_checks
from postdo.checks.graph import NO_ORDER
from postdo.checks.history import find_problems, real_reason
from postdo.checks.models import compare_models
from postdo.checks.pending import pending
from postdo.checks.server import server_problems
from postdo.compatibility.compare import Clash, clashes
from postdo.compatibility.read_models import model_use
from postdo.copy.base_backup import wants_copy
from postdo.drift.drift import explain, find, try_sql
from postdo.drift.subject import Subject
from postdo.drift.try_repair import untold
from postdo.journal.model_usage import ModelUse
from postdo.plan import kept
from postdo.plan.decide import Plan, decide
from postdo.plan.findings import Findings, Pending, Problem
from postdo.plan.kept import Approved
from postdo.rehearsal.rehearse import Rehearsal, rehearse, reuse
from postdo.schema.diff import Difference


def make_plan(
    subject: Subject,
    *,
    always_rehearse: bool = False,
    approved: Approved | None = None,
    with_sql: bool = True,
) -> Plan:
    """Look at everything, change nothing in the database, and decide.

    - ``always_rehearse``: also if there is nothing to lose, to learn what cannot run in one
      transaction.
    - ``approved``: a plan whose rehearsal may have been kept, and is used then.
    - ``with_sql``: whether somebody will read the SQL of pending migrations as Django would send it
      (otherwise it is what the rehearsal sent) and the SQL that removes drift.
    """
    known = _by_kept_rehearsal(subject, approved) if approved else None
    return known or _make_plan(subject, None, always=always_rehearse, with_sql=with_sql)


def _by_kept_rehearsal(subject: Subject, approved: Approved) -> Plan | None:
    """The plan that is approved, if it is still that one; with a backup of now, as any other."""
    rehearsed = kept.take(subject, approved)
    if rehearsed is None:
        return None
    plan = _make_plan(subject, rehearsed, always=False, with_sql=False)
    if plan.checksum != approved.checksum:
        kept.anew(subject, f"the plan is different now ({plan.line})")
        return None
    try:
        now = reuse(subject.run, subject.session, rehearsed)
    except Refused as error:
        kept.anew(subject, error.what)
        return None
    return replace(plan, findings=replace(plan.findings, rehearsal=now))


def _make_plan(
    subject: Subject, rehearsed: Rehearsal | None, *, always: bool, with_sql: bool
) -> Plan:
    """``rehearsed``: by an earlier run on the same code and schema: its models had no problem."""
    run, session = subject.run, subject.session
    # To render SQL costs about what applying it does, and nobody asks for it there.
    waiting, problems = _waiting(
        subject, with_sql=with_sql and not subject.empty, with_models=rehearsed is None
    )
    stuck = any(problem.blocking for problem in problems)
    drift, drift_unknown = _drift(subject, problems)
    rehearsal, missing = rehearsed, "there is nothing to rehearse"
    if waiting and not (stuck or rehearsed):
        rehearsal, missing = _rehearsal(subject, problems, always=always)
    problems.extend(server_problems(run, session, rehearsal) if waiting else ())
    serving = subject.journal.model_use()
    problems.extend(_journal_problem(subject))  # after all that is read of it
    statements = _statements(waiting, rehearsal)
    findings = Findings(
        database=str(target()),
        server=_server(session),
        release=run.config.release,
        serving=serving.release if serving else "",
        empty=subject.empty,
        pending=tuple(replace(one, sql=one.sql or statements[one.name]) for one in waiting),
        problems=tuple(problems),
        drift=drift,
        drift_unknown=drift_unknown,
        explained=(),
        rehearsal=rehearsal,
        rehearsal_missing=missing,
        clashes=_clashes(subject, serving, rehearsal),
        first_look=_is_first(subject),
    )
    return _explained(subject, decide(findings, run.config.policies), with_sql=with_sql)


def needs_copy(subject: Subject) -> bool:
    """Whether ``make_plan`` would rehearse on a base backup, as far as that is known quickly."""
    if subject.empty or not wants_copy(subject.run, subject.session):
        return False
    waiting, problems = _waiting(subject, with_sql=False)
    return bool(waiting) and not any(problem.blocking for problem in problems)


def _waiting(
    subject: Subject, *, with_sql: bool, with_models: bool = True
) -> tuple[tuple[Pending, ...], list[Problem]]:
    """What is pending, and what is wrong with it before anything is tried.

    Nothing counts as pending as long as history or models stand in the way. ``with_models``:
    whether to compare these with their migrations.
    """
    history = _history_problems(subject)
    # Without an order the models are compared with nothing, and Django says less of it.
    ordered = not any(one.blocking and one.hazard in NO_ORDER for one in history)
    models = _model_problems(subject) if ordered and with_models else []
    problems = _all_problems(models, history)
    if any(problem.blocking for problem in problems):
        return (), problems
    waiting = pending(subject.run, subject.project, with_sql=with_sql)
    return waiting, [*problems, *(_check_problems(subject.run) if waiting else ())]


def _serving_use() -> ModelUse | None:
    """What the models before this release use, as the applied migrations describe them."""
    loader = MigrationLoader(connections[DEFAULT_DB_ALIAS])
    applied = [name for name in loader.applied_migrations if name in loader.graph.nodes]
    if not applied:
        return None
    state = loader.graph.make_state(nodes=applied, at_end=True, real_apps=loader.unmigrated_apps)
    return model_use(state.apps, connections[DEFAULT_DB_ALIAS], "")


def present_use(run: Run) -> ModelUse:
    """What the models of the code at work use of the database."""
    return model_use(registry, connections[DEFAULT_DB_ALIAS], run.config.release)


def _check_problems(run: Run) -> list[Problem]:
    """Where Django's own ``migrate`` would stop before it begins."""
    try:
        require_checks(run, database=True)
    except Refused as error:
        return [Problem(0, error.what, error.next_step, blocking=True, details=error.details)]
    return []


def _model_problems(subject: Subject) -> list[Problem]:
    if subject.run.config.policy is Policy.OFF:
        return []
    try:
        compare_models(subject.run, subject.session)
    except Refused as error:
        return [Problem(1, error.what, error.next_step, blocking=True, details=error.details)]
    return []


def _all_problems(models: list[Problem], history: tuple[Problem, ...]) -> list[Problem]:
    reason = real_reason(history, [one.what for one in models]) if models else None
    if reason is None:
        return [*models, *history]
    return [reason, *(one for one in history if one.what != reason.what)]


def _history_problems(subject: Subject) -> tuple[Problem, ...]:
    return find_problems(
        subject.run, subject.project, subject.session, subject.before, subject.archived
    )


def _is_first(subject: Subject) -> bool:
    """Whether nobody can ever have kept a source; a journal that cannot be read may have all."""
    journal = subject.journal
    nothing_kept = journal.absent or (journal.usable and not subject.archived)
    return nothing_kept and not subject.empty


def _journal_problem(subject: Subject) -> tuple[Problem, ...]:
    if not subject.journal.trouble:
        return ()
    next_step = (
        "let postdo create its journal (schema postdo_journal): without it, drift cannot be "
        "detected"
        if subject.journal.absent
        else "repair it, or start a new journal: DROP SCHEMA postdo_journal CASCADE"
    )
    return (Problem(0, subject.journal.trouble, next_step, blocking=False),)


def _explained(subject: Subject, plan: Plan, *, with_sql: bool) -> Plan:
    """The same plan with the reason for drift that stops it, and with SQL that was tried.

    Both take a copy, so that they are looked for only where drift is in the way. ``with_sql``:
    whether somebody reads the SQL that removes a difference; else it is of use only for what has to
    go before the migrations and come again after them, which the refusal itself says.
    """
    policies, found = subject.run.config.policies, plan.findings.drift or ()
    if not found:
        return plan
    rehearsal = plan.findings.rehearsal
    seen = rehearsal is not None and rehearsal.reused  # with all of it, by who approved
    if seen or not plan.touched_drift or policies.drift is Answer.ALLOW:
        return decide(replace(plan.findings, drift=untold(found)), policies)
    reasons = tuple(map(str, explain(subject, found)))
    wanted = with_sql or any(one.again for one in plan.touched_drift)
    told = try_sql(subject, found) if wanted else untold(found)
    return decide(replace(plan.findings, explained=reasons, drift=told), policies)


def _drift(subject: Subject, problems: list[Problem]) -> tuple[tuple[Difference, ...] | None, str]:
    if subject.empty:
        return (), ""
    if any(problem.blocking for problem in problems):
        return None, "the migration history has to be repaired first"
    try:
        wanted = subject.run.config.policies.drift is not Answer.ALLOW
        found = find(subject, build=wanted)
    except Refused as error:
        return None, f"{error.what} ({error.next_step})"
    return found, "" if found is not None else (
        "ON_DRIFT=allow, and the expected schema was never recorded"
    )


def _rehearsal(
    subject: Subject, problems: list[Problem], *, always: bool
) -> tuple[Rehearsal | None, str]:
    if subject.run.config.policies.rehearse is Rehearse.OFF and not always:
        return None, "REHEARSE=off"
    if subject.empty and not always:
        return None, "the database is empty"
    try:
        return rehearse(subject.run, subject.session), ""
    except Refused as error:
        problems.append(
            Problem(53, error.what, error.next_step, blocking=True, details=error.details)
        )
        return None, error.what


def _clashes(
    subject: Subject, serving: ModelUse | None, rehearsal: Rehearsal | None
) -> tuple[Clash, ...] | None:
    if rehearsal is None or rehearsal.trace is None:
        return None
    use = serving or _serving_use()
    trace = rehearsal.trace
    return None if use is None else clashes(use, trace.before, trace.after, trace.renames)


def _statements(
    waiting: tuple[Pending, ...], rehearsal: Rehearsal | None
) -> dict[str, tuple[str, ...]]:
    """The SQL of each migration: as it was sent, else as Django would send it."""
    found = {one.name: one.sql for one in waiting}
    if rehearsal is not None and rehearsal.trace is not None:
        for step in rehearsal.trace.steps:
            if step.migration in found:
                found[step.migration] = tuple(statement.sql for statement in step.statements)
    return found


def _server(session: BaseDatabaseWrapper) -> str:
    ((version,),) = rows(session, "SELECT current_setting('server_version')")
    return f"PostgreSQL {str(version).split()[0]}, Django {django.get_version()}"
