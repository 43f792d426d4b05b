"""Run one job in the worker process: migrate its database, observe that, and report the result.

A job has one of three modes. ``transaction`` runs the pending migrations as a release does, all in
one transaction, which is rolled back at the end. ``plain`` runs them as Django does, where each
migration commits on its own. ``expected`` runs given migrations, from given sources, on an empty
database, to learn the schema that they produce. ``child_main`` starts this, and closes the process
to the outside first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from django.core.management.sql import emit_post_migrate_signal
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models.signals import pre_migrate

from postdo.base.database import cancel, rows
from postdo.base.project import set_up
from postdo.base.signals import Stopped, StopSignals
from postdo.base.system_checks import load_all_models
from postdo.django_migrations.history import Name
from postdo.executor import migration_session, run_pending
from postdo.executor.commit_status import nobody_else_ends_it
from postdo.executor.transaction_scope import CHECK_CONSTRAINTS
from postdo.rehearsal import data_loss, diagnose, sandbox, sandbox_databases, server_statements
from postdo.rehearsal.archived_loader import ArchivedExecutor, ArchivedLoader
from postdo.rehearsal.data_loss import Columns, Place, Uncounted
from postdo.rehearsal.process import Job
from postdo.rehearsal.sandbox_driver import SandboxDriver
from postdo.rehearsal.trace import Loss, Rename, Trace, to_values
from postdo.rehearsal.tracer import LAST_STEP, Tracer
from postdo.schema import catalogue
from postdo.schema.catalogue import Catalogue

NAME = "postdo rehearsal"
# The server ends the work of a client that is gone within this time, where it can (PostgreSQL 14,
# Linux): HAZARDS 51.
CHECK_CLIENT = """
SELECT set_config(name, '1s', false) FROM pg_settings
WHERE name = 'client_connection_check_interval'
"""
DURABILITY = "SELECT set_config('synchronous_commit', %s, false)"
# What a foreign table needs to reach its server, as statements that remove it. PostgreSQL 14 to 18.
FOREIGN = """
SELECT format('DROP USER MAPPING FOR %s SERVER %I',
              CASE WHEN umuser = 0 THEN 'PUBLIC' ELSE quote_ident(usename) END, srvname)
FROM pg_user_mappings
"""

Send = Callable[..., None]
Done = dict[str, Any]


class _Sessions:
    """Counts the sessions with the database, and prepares each."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.count = 0

    def __call__(self, connection: BaseDatabaseWrapper, **_: object) -> None:
        if connection.settings_dict["NAME"] != self._job.database:
            return  # another database, which can be read
        self.opened()
        # Nobody misses a copy after a power failure; the one that is swapped in must be durable.
        durable = "off" if self._job.isolated else "on"
        # A session that waits for another one of ours would wait for ever: HAZARDS 58. No other
        # limit of the role: the session that makes the change in production has none either.
        rows(connection, migration_session.SETTINGS, f"{self._job.lock_timeout_ms}ms", NAME)
        rows(connection, DURABILITY, durable)
        with suppress(DatabaseError):
            rows(connection, CHECK_CLIENT)
        if not connection.get_autocommit():
            connection.commit()

    def opened(self) -> None:
        """One more."""
        self.count += 1


class _Planned:
    """Tells how many migrations there will be: Django sends its signal once for each app."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._told = False

    def __call__(self, plan: Sequence[object] = (), **_: object) -> None:
        if not self._told:
            self._told = True
            self._send("planned", count=len(plan))


class _Attempt:
    """One run: the job, the session that does it, and who watches."""

    def __init__(self, job: Job, send: Send, sessions: _Sessions) -> None:
        self.job = job
        self.sessions = sessions
        self.worker = connections[DEFAULT_DB_ALIAS]
        self.worker.ensure_connection()
        self.tracer = Tracer(
            self.worker,
            single=job.mode == "transaction",
            closely=job.trace,
            tell=lambda kind, name: send(kind, migration=name),
        )

    def failed(self, error: BaseException) -> Done:
        """The failure, with rows of the copy as it is by now: rolled back."""
        tracer = self.tracer
        failure = diagnose.describe(
            error,
            migration=tracer.running or (LAST_STEP if diagnose.in_handlers(error) else ""),
            module=tracer.module,
            atomic=tracer.atomic,
            failing=tracer.failing,
            sessions=self.sessions.count,
        )
        found = diagnose.examples(self.worker, error, tracer.failing)
        return {"failure": {**asdict(failure), "rows": found}}

    def succeeded(
        self,
        before: Catalogue,
        after: Catalogue,
        lost: tuple[Loss, ...],
        open_: list[Uncounted],
        renames: tuple[Rename, ...] = (),
    ) -> Done:
        """The trace, and what has to be counted elsewhere."""
        altered = data_loss.altered(before, after)
        trace: Trace = self.tracer.trace(before, after, lost, altered)
        trace = replace(trace, renames=renames)
        return {"trace": to_values(trace), "uncounted": [asdict(one) for one in open_]}


def work(job: Job, send: Send, stop: StopSignals) -> Done:
    """Do a job. Returns the fields of a ``Result`` that apply, as JSON values.

    It may be called once in a process, because it closes the process off. Raises ``Stopped``,
    ``Misconfigured`` if the project cannot be loaded, and Django's errors without a connection.
    """
    sessions = _Sessions(job)
    sandbox_driver = SandboxDriver(job.database, job.port)
    sandbox_databases.use_database(job.database, job.port)
    sandbox_driver.point_environment()
    sandbox_driver.guard(
        lock_timeout_ms=job.lock_timeout_ms,
        network=lambda place: job.network or not job.isolated or sandbox.is_named(place, job.hosts),
        opened=sessions.opened,
        note=sandbox.OUTSIDE.note,
    )
    if job.isolated:
        sandbox.use_no_mail_and_files(job.folder)
    set_up()
    if job.mode != "expected":
        # post_migrate handlers see them. Before the network is closed: a check may ask there, as
        # it did in the process that started us, and that says nothing of the migrations.
        load_all_models()
    if job.isolated:
        send("guarded", gap=sandbox.close_files(job.folder))
        sandbox.close_network_and_programs(
            network=job.network, hosts=job.hosts, servers=sandbox_driver.servers
        )
    connections.close_all()  # what an AppConfig opened; it is opened anew, and prepared
    connection_created.connect(sessions, weak=False)
    attempt = _Attempt(job, send, sessions)
    if job.isolated and not job.network:
        _close_foreign_servers(attempt.worker)
    pre_migrate.connect(_Planned(send), weak=False)
    modes = {"transaction": _transaction, "plain": _plain, "expected": _expected}
    with ExitStack() as stack, stop.guarded(lambda: True, lambda: cancel(attempt.worker)):
        if job.isolated:
            stack.enter_context(_server_closed(attempt))
        try:
            return modes[job.mode](attempt)
        except Stopped:
            raise
        except BaseException as error:  # noqa: BLE001  a migration may call sys.exit()
            stop.check()
            return attempt.failed(error)


def _server_closed(attempt: _Attempt) -> AbstractContextManager[None]:
    """A server of the copy's own (``port``) may be changed as it likes."""
    job = attempt.job
    kept = job.mode != "transaction" and not job.port
    skip = job.mode == "expected"
    return server_statements.refused(attempt.worker, job.database, kept=kept, skip=skip)


def _close_foreign_servers(worker: BaseDatabaseWrapper) -> None:
    """The server reaches them by itself, past Python's network: what they are told would stay."""
    for (statement,) in rows(worker, FOREIGN):
        with suppress(DatabaseError):  # another role's
            rows(worker, statement)
    if not worker.get_autocommit():
        worker.commit()


def _transaction(attempt: _Attempt) -> Done:
    """All in one transaction, which is rolled back; then count what it would have lost."""
    worker, tracer = attempt.worker, attempt.tracer
    with transaction.atomic():
        before, columns = catalogue.read(worker), data_loss.columns(worker)
        with tracer.watching(), nobody_else_ends_it(worker):
            run_pending.run_pending(worker, tracer)
            rows(worker, CHECK_CONSTRAINTS)
            tracer.finish()
        after, left = catalogue.read(worker), data_loss.columns(worker)
        remaining = _remaining(worker, tracer, columns, left)
        transaction.set_rollback(True)
    open_ = data_loss.uncounted(columns, left, _dropped(attempt))
    renames = data_loss.renames(columns, left)
    if not attempt.job.rows:
        return attempt.succeeded(before, after, (), list(open_), renames)
    lost = data_loss.count(worker, open_) + _rows_lost(attempt, columns, left, remaining)
    done = attempt.succeeded(before, after, lost, [], renames)
    return {**done, "countable": [asdict(one) for one in open_]}


def _dropped(attempt: _Attempt) -> Mapping[Place, int]:
    """What was counted when columns were dropped; without rows that says nothing."""
    return attempt.tracer.dropped if attempt.job.rows else {}


def _remaining(
    worker: BaseDatabaseWrapper, tracer: Tracer, before: Columns, after: Columns
) -> dict[int, int]:
    """How many rows there are now in tables that a DELETE or a TRUNCATE was for, by table id."""
    suspects = {column.table for column in data_loss.truncated(before, tracer.steps())}
    effects = data_loss.by_old_name(before, after, tracer.effects)
    suspects |= {table for table, effect in effects.items() if effect.deleted}
    tables = {
        table: column.quoted_table
        for (table, number), column in after.items()
        if (table, number) in before and before[table, number].table in suspects
    }
    return {table: data_loss.count_rows(worker, quoted) for table, quoted in tables.items()}


def _rows_lost(
    attempt: _Attempt, before: Columns, after: Columns, remaining: dict[int, int]
) -> tuple[Loss, ...]:
    """``remaining``: of ``_remaining``; what is not in it was as PostgreSQL counted.

    It counts what was rolled back to a savepoint too, and nothing of a TRUNCATE. So a table has
    lost at most what is missing, and as many more as others may have come in their place; and
    nothing of what the tracer saw a savepoint bring back.
    """
    effects = data_loss.by_old_name(before, after, attempt.tracer.effects)
    emptied = {column.table for column in data_loss.truncated(before, attempt.tracer.steps())}
    back = attempt.tracer.brought_back
    counts = {table: effect.deleted - _of(table, back) for table, effect in effects.items()}
    for (table, _), column in before.items():
        left = remaining.pop(table, None)
        if left is None:
            continue
        missing = data_loss.count_rows(attempt.worker, column.quoted_table) - left
        counted, inserted = counts.get(column.table, 0), 0
        if column.table in effects:
            inserted = effects[column.table].inserted
        if column.table in emptied:
            counts[column.table] = max(counted, missing)
        else:
            counts[column.table] = min(counted, missing + inserted)
    return tuple(
        Loss("rows", table, "", count) for table, count in sorted(counts.items()) if count > 0
    )


def _of(table: str, counts: Mapping[str, int]) -> int:
    """What a table has there, by its name with its schema or without."""
    return counts.get(table, 0) + counts.get(table.partition(".")[2], 0)


def _plain(attempt: _Attempt) -> Done:
    """As Django does it, kept: what it lost can only be counted in another database by now."""
    worker, tracer = attempt.worker, attempt.tracer
    before, columns = catalogue.read(worker), data_loss.columns(worker)
    with tracer.watching():
        run_pending.run_plainly(tracer)
        tracer.finish()
    after, left = catalogue.read(worker), data_loss.columns(worker)
    lost = _rows_lost(attempt, columns, left, {})
    open_ = data_loss.uncounted(columns, left, _dropped(attempt))
    return attempt.succeeded(before, after, lost, list(open_), data_loss.renames(columns, left))


def _expected(attempt: _Attempt) -> Done:
    """Only the targets, from nothing, and the handlers that make objects of their own."""
    worker, tracer, job = attempt.worker, attempt.tracer, attempt.job
    before = catalogue.read(worker)
    sources = {_name(dotted): text for dotted, text in job.archived}

    def apply(targets: Iterable[Name], done: frozenset[Name]) -> frozenset[Name]:
        """What is applied afterwards."""
        loader = ArchivedLoader(worker, sources, frozenset(targets))
        executor = ArchivedExecutor(worker, loader, run_pending.progress(tracer))
        state, plan = executor.apply_targets(done)
        _handlers(state, plan)
        return frozenset((one.app_label, one.name) for one, _ in plan)

    with tracer.watching():
        common = apply(job.targets or (), frozenset())
        tracer.finish()
    after = catalogue.read(worker)
    further = [_tried(worker, partial(apply, targets, common)) for targets in job.further]
    return {**attempt.succeeded(before, after, (), []), "further": further}


def _tried(worker: BaseDatabaseWrapper, apply: Callable[[], object]) -> str | None:
    """The schema as JSON with this applied too, which is taken back; ``None`` if it fails."""
    try:
        with transaction.atomic():
            apply()
            after = catalogue.read(worker)
            transaction.set_rollback(True)
    except Exception as error:  # noqa: BLE001  such as CONCURRENTLY, which no transaction can
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return None
    return after.to_json()


def _name(dotted: str) -> Name:
    app, _, name = dotted.partition(".")
    return app, name


def _handlers(state: Any, plan: list[Any]) -> None:
    """post_migrate, whose handlers may make triggers. One that fails says nothing of the schema.

    It may use today's models, on a schema that is older.
    """
    try:
        with transaction.atomic():
            emit_post_migrate_signal(0, False, DEFAULT_DB_ALIAS, apps=state.apps, plan=plan)
    except Exception as error:  # noqa: BLE001  see above
        print(f"post_migrate: {type(error).__name__}: {error}", file=sys.stderr)
