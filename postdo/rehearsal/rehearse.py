"""Run the pending migrations on a copy of the database, before they run on the database itself.

``rehearse`` works in four steps:

1. Make a copy. Usually pg_dump writes a backup and pg_restore fills a scratch database beside
   production's (``copy.backup``), so that each rehearsal also proves its backup. A database above
   REHEARSE_DUMP_MB is copied as a whole server instead, by a base backup that ``run.sh`` makes.
   With REHEARSE=schema the copy has no rows.
2. Run the migrations in one transaction, in a worker process (``process.work``) that cannot reach
   production, the network, other programs or the project's files.
3. If they failed only because they share one transaction, run them once more as Django does, each
   migration on its own. If that succeeds, the mode of the release is ``swap`` instead of
   ``transaction``.
4. Return a ``Rehearsal``: the mode, a ``Trace`` of what the migrations did (locks, rewritten
   tables, changed rows, lost data, the schema before and after), or the failure.

Nothing is decided here: ``plan.decide`` reads the ``Rehearsal``. The release compares its own
result with the trace before it commits (``rehearsal.verify``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.config import Rehearse
from postdo.base.console import Stopwatch
from postdo.base.context import Run
from postdo.base.database import rows
from postdo.copy import backup, base_backup, scratch
from postdo.copy.backup import Copied
from postdo.rehearsal import process, row_counts, server_statements
from postdo.rehearsal.data_loss import Uncounted, count_in_production
from postdo.rehearsal.file_changes import FileChange
from postdo.rehearsal.process import Result
from postdo.rehearsal.row_counts import Table
from postdo.rehearsal.trace import Failure, Trace

FULL = "full"
SCHEMA = "schema"
DUMP = "dump"
BASE_BACKUP = "base-backup"


@dataclass(frozen=True)
class Rehearsal:
    """How the rehearsal went.

    - ``method``: ``full`` (all rows) or ``schema`` (no rows). ``mode``: the one that succeeded,
      ``transaction`` or ``swap``; empty if none did.
    - ``trace``: of the successful run. ``failure``: of the run in one transaction, if it failed.
      ``plain_failure``: of the run as Django does it, if that was tried and failed too.
      ``plain_seconds``: how long that took with everything that belongs to it.
    - ``outside``: what the run tried to reach beyond the database (``mail to 3 recipients``,
      ``network api.example.com:443``, ``program convert``). ``files``: what it did to files, in a
      folder aside. ``server``: what changed on the database server meanwhile, maybe by the run.
      ``gap``: what this machine could not close, so that the run may have changed it.
    - ``backup``: the name that the copy's backup gets once the change begins; empty without one.
    - ``copied_by``: ``dump`` (and restore) or ``base-backup`` (of the whole server).
      ``copy_seconds``: how long the copy took. ``size_bytes``: of the copied database.
      ``left_out``: what the copy lacks, see ``backup.Copied``.
    - ``changes``: the database's count of changed rows just before the copy
      (``row_counts.changes``). ``tables``: each table just before the copy. ``countable``: losses
      that can be counted again.
    - ``reused``: whether an earlier run made this rehearsal, and asked for approval.
    """

    method: str
    mode: str
    trace: Trace | None
    failure: Failure | None
    plain_failure: Failure | None
    outside: tuple[str, ...]
    backup: str
    copy_seconds: float
    size_bytes: int
    left_out: tuple[str, ...] = ()
    copied_by: str = DUMP
    changes: int = 0
    plain_seconds: float = 0.0
    gap: str = ""
    server: tuple[str, ...] = ()
    files: tuple[FileChange, ...] = ()
    tables: tuple[Table, ...] = ()
    countable: tuple[Uncounted, ...] = ()
    reused: bool = False

    @property
    def beyond(self) -> tuple[str, ...]:
        """What the run did or tried outside of the database, in words."""
        return (*self.outside, *map(str, self.files))


@dataclass(frozen=True)
class _Copy:
    """A database to try on. ``port``: of its server, 0 for production's own."""

    database: str
    port: int
    copied: Copied


def rehearse(run: Run, session: BaseDatabaseWrapper) -> Rehearsal:
    """Copy the database of ``session``, run the pending migrations on the copy, and drop the copy.

    If only the one transaction is what fails, they are also tried as Django runs them. Raises
    ``Refused`` if there is no room, no privilege or no program for a copy, and ``Stopped`` on a
    signal.
    """
    policies = run.config.policies
    full = policies.rehearse is not Rehearse.SCHEMA
    changes, tables = row_counts.changes(session), row_counts.tables(session)
    with _copy(run, session, full=full) as copy:
        copied = copy.copied
        watch = Stopwatch()

        def attempt(mode: str) -> process.Result:
            left = max(1.0, policies.rehearse_seconds - copied.seconds - watch.seconds)
            return process.work(
                run,
                process.Job(
                    database=copy.database,
                    port=copy.port,
                    mode=mode,
                    seconds=left if policies.rehearse_seconds else 0.0,
                    memory_mb=policies.memory_mb,
                    network=policies.network,
                    hosts=policies.hosts,
                    rows=full,
                ),
            )

        run.console.say(f"rehearsing the pending migrations on the copy ({copied.seconds:.1f} s)")
        first = attempt("transaction")
        second, plain_seconds = None, 0.0
        changed: tuple[str, ...] = ()
        if first.failure is not None and first.failure.single_only:
            run.console.say(
                f"the migrations failed in one transaction ({first.failure.what}); rehearsing "
                "them as Django runs them"
            )
            began = watch.seconds
            server = server_statements.state(session)
            second = attempt("plain")
            changed = server_statements.differences(server, server_statements.state(session))
            plain_seconds = watch.seconds - began
    last = second or first
    return Rehearsal(
        method=FULL if full else SCHEMA,
        mode="" if last.trace is None else ("swap" if second else "transaction"),
        trace=_counted(session, last),
        failure=first.failure,
        plain_failure=second.failure if second else None,
        outside=_outside(first, second),
        files=last.files,  # both runs do the same, and this one got farther
        backup=str(copied.backup or ""),
        copy_seconds=copied.seconds,
        size_bytes=copied.size_bytes,
        left_out=copied.left_out,
        copied_by=BASE_BACKUP if copy.port else DUMP,
        changes=changes,
        plain_seconds=plain_seconds,
        gap=last.gap,
        server=changed,
        tables=tables,
        countable=last.countable,
    )


def reuse(run: Run, session: BaseDatabaseWrapper, kept: Rehearsal) -> Rehearsal:
    """The kept rehearsal as one of now, with a new backup, proved by a copy, if backups are kept.

    Raises what ``rehearse`` raises.
    """
    now = replace(kept, changes=row_counts.changes(session), backup="")
    if run.config.backups is None or kept.copied_by == BASE_BACKUP:
        return now
    with _copy(run, session, full=True) as copy:
        backup = str(copy.copied.backup or "")
        return replace(now, backup=backup, left_out=copy.copied.left_out)


@contextmanager
def _copy(run: Run, session: BaseDatabaseWrapper, *, full: bool) -> Iterator[_Copy]:
    """The copy that stands ready on a server of its own, or one beside production, gone after."""
    port = run.config.policies.copy_port
    if full and port:
        found = base_backup.find_copy(run, session)
        ((name,),) = rows(session, "SELECT current_database()")
        yield _Copy(str(name), port, found)
        return
    backup.check_room(run, session)
    with scratch.scratch_database(run, session) as name:
        yield _Copy(name, 0, backup.copy(run, session, name, schema_only=not full))


def _outside(first: Result, second: Result | None) -> tuple[str, ...]:
    if second is None:
        return first.outside
    return tuple(dict.fromkeys(first.outside + second.outside))


def _counted(session: BaseDatabaseWrapper, result: Result) -> Trace | None:
    """The trace, with the losses counted in production that the copy could not tell."""
    if result.trace is None or not result.uncounted:
        return result.trace
    found = count_in_production(session, result.uncounted)
    return replace(result.trace, losses=found + result.trace.losses)
