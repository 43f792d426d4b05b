"""Write a backup with pg_dump, and restore it into the copy on which a release is rehearsed.

The backup is a folder in pg_dump's directory format. Its name ends in ``.part`` until a copy was
restored from it and the release begins to change the database (``backup_folder.finish``). So every
finished backup is one that could be restored, from just before a change.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base import sqlstates
from postdo.base.config import Rehearse
from postdo.base.console import Stopwatch
from postdo.base.context import Run
from postdo.base.database import cancel, closing, message, role, rows, sqlstate
from postdo.base.errors import Refused
from postdo.base.formatting import MB, listed, megabytes
from postdo.copy import extensions, read_privileges, replication_slots
from postdo.copy.backup_folder import BackupFolder
from postdo.copy.owned_by_others import Foreign, contents, foreign, listing
from postdo.copy.pg_programs import (
    OutOfTimeError,
    ProgramFailedError,
    Programs,
    environment,
    programs,
    run_together,
)
from postdo.copy.scratch import connect_to
from postdo.copy.size_limit import check_size

__all__ = ["Copied", "Programs", "check_room", "copy", "programs"]

JOBS = 2  # HAZARDS, the copy: 906 MB in 12.8 s; more would take production's own processors
COPY_FACTOR = 1.2  # restored tables are smaller than before, but building indexes sorts on disk
DUMP_FACTOR = 0.5  # gzip -1 made 0.2 of 232 MB of text, numbers and their indexes
MARGIN_MB = 200  # for what else is written meanwhile
# gzip, because 14 and 15 have nothing else. Of 232 MB: 48 MB in 1.0 s; level 6 46 MB in 2.3 s,
# level 0 128 MB in 0.5 s.
COMPRESSION = "--compress=1"
PIPED = ("--format=custom", "--compress=0")
# Tables whose rows are part of the schema to Django: post_migrate and migrations look at them.
KEPT_ROWS = ("django_migrations", "django_content_type", "auth_permission", "django_site")
DISK_FULL = ("No space left on device", "Disk quota exceeded", "Check free disk space")
LESS_ROOM = "free some disk space there, or set REHEARSE=schema for a copy without rows"
NAMED = 20  # of what a copy goes without; more are counted

# Its size in bytes, and the WAL that PostgreSQL keeps before it recycles it. PostgreSQL 14 to 18.
SIZE = """
SELECT pg_database_size(current_database()),
       (SELECT setting::bigint * 1048576 FROM pg_settings WHERE name = 'max_wal_size')
"""
# Whether the role is a superuser, and its name if the session has assumed it. PostgreSQL 14 to 18.
ROLE = """
SELECT rolsuper, CASE WHEN current_user <> session_user THEN current_user::text END
FROM pg_roles WHERE rolname = current_user
"""
# Every table, quoted, without those of extensions and those whose rows are kept (looked up as
# Django does, by the search path). Materialized views are filled: an unfilled one cannot be read.
# PostgreSQL 14 to 18.
ROWLESS = """
SELECT format('%%I.%%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname !~ '^pg_(toast|temp)' AND c.relpersistence <> 't'
  AND c.oid NOT IN (SELECT to_regclass(kept)::oid FROM unnest(%s::text[]) kept
                    WHERE to_regclass(kept) IS NOT NULL)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1
"""

# The statement that analyses all tables but PostgreSQL's own, whose statistics come with every new
# database and cost more than those of a small one. A partitioned table stands for its partitions.
# Nothing where there are no tables. PostgreSQL 14 to 18.
ANALYZE = """
SELECT 'ANALYZE ' || string_agg(c.oid::regclass::text, ', ') FROM pg_class c
WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND c.oid >= 16384
"""


@dataclass(frozen=True)
class Copied:
    """A copy that was made, and the backup that it was made of.

    - ``backup``: the name that the backup gets once it is finished, ``None`` if none is kept.
    - ``seconds``: how long it took. ``size_bytes``: of the source, as PostgreSQL counts it.
    - ``left_out``: what the copy lacks because only a superuser can make or read it: names of
      extensions, then other objects with their kind (``event trigger watch``).
    """

    backup: Path | None
    seconds: float
    size_bytes: int
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Job:
    """One copy. ``flags``: for both programs; ``restoring``: for pg_restore into the scratch.

    ``left_out``: extensions that the copy lacks; ``provided``: those that it has already.
    """

    session: BaseDatabaseWrapper
    found: Programs
    variables: dict[str, str]
    deadline: float
    flags: tuple[str, ...]
    restoring: tuple[str, ...]
    without: Foreign
    in_kit: bool


def check_room(run: Run, session: BaseDatabaseWrapper, *, schema_only: bool | None = None) -> int:
    """The size of the database in bytes, if a copy of it fits the limits and the disks.

    ``schema_only``: whether it is copied without rows, which always fits; ``None`` for what
    ``REHEARSE`` says. Raises ``Refused`` with the sizes and the key of ``.env`` to change.
    """
    policies = run.config.policies
    ((size, wal),) = rows(session, SIZE)
    if schema_only or (schema_only is None and policies.rehearse is Rehearse.SCHEMA):
        return int(size)
    check_size(run, session)
    replication_slots.require_room(session, int(COPY_FACTOR * size))
    folder = _folder(run, session)
    dump = int(DUMP_FACTOR * size) + MARGIN_MB * MB if folder else 0
    # The backup may be on the server's disk too, as it is where all containers share one.
    needed = int(COPY_FACTOR * size) + min(size, wal) + MARGIN_MB * MB + dump
    if policies.server_free_mb is not None and policies.server_free_mb * MB < needed:
        raise Refused(
            f"a copy of the database ({megabytes(size)}) needs {megabytes(needed)} on the "
            f"server's disk, including WAL and the backup, but {policies.server_free_mb} MB are "
            "free",
            LESS_ROOM,
        )
    free = folder.free_bytes() if folder else dump
    if folder and free < dump:
        raise Refused(
            f"a backup of the database ({megabytes(size)}) can need {megabytes(dump)}, but "
            f"{folder.root} has {megabytes(free)} free",
            LESS_ROOM,
        )
    return int(size)


def copy(run: Run, session: BaseDatabaseWrapper, scratch: str, *, schema_only: bool) -> Copied:
    """Dump the database of ``session`` and restore it into the database ``scratch``.

    With a folder for backups the dump is kept there, as unfinished. Raises ``Refused`` (nothing was
    changed) if either fails, exceeds the time limit, or the disk is full.
    """
    watch = Stopwatch()
    ((size, _),) = rows(session, SIZE)
    job = _job(run, session, scratch)
    try:
        folder = _folder(run, session)
        if schema_only:
            run.console.say("copying the schema without rows; no backup is made")
            backup, left_out = None, _through_a_pipe(job, _without_rows(session))
        elif folder:
            backup, left_out = _through_a_folder(job, folder)
        else:
            backup, left_out = None, _through_a_pipe(job, ())
        _analyze(run, job, scratch)
    except OutOfTimeError as error:
        raise Refused(
            f"the copy took longer than the {run.config.policies.rehearse_seconds:.0f} s that "
            "REHEARSE_SECONDS allows",
            "raise REHEARSE_SECONDS, or set REHEARSE=schema for a copy without rows",
        ) from error
    except ProgramFailedError as error:
        raise _failed(run, job, error) from error
    left_out += tuple(name.replace('"', "") for name in job.without.names)
    if left_out:
        run.console.say(f"the copy omits {listed(left_out, NAMED)}: this role may not copy that")
    return Copied(backup, watch.seconds, int(size), (*job.without.extensions, *left_out))


def _job(run: Run, session: BaseDatabaseWrapper, scratch: str) -> _Job:
    connection: Any = session.connection
    found = programs(run, connection.info.server_version // 10_000)
    seconds = run.config.policies.rehearse_seconds
    ((superuser, assumed),) = rows(session, ROLE)
    without = Foreign()
    if not superuser:
        lacking = extensions.forbidden(run, session, scratch)
        without = foreign(session, lacking, extensions.provided(run, scratch))
    extensions.same_versions(run, session, scratch)
    flags = ["--no-password", *([f"--role={assumed}"] if assumed else [])]
    # A subscription would be one to production's own publisher, and keep the copy from being
    # dropped. Owners and privileges of others only a superuser can give.
    restoring = [f"--dbname={scratch}", "--exit-on-error", "--no-subscriptions"]
    if not superuser:
        restoring += ["--no-owner", "--no-privileges", "--no-publications"]
    return _Job(
        session=session,
        found=found,
        variables=environment(session, f"postdo copy {run.config.host}"),
        deadline=time.monotonic() + seconds if seconds else float("inf"),
        flags=tuple(flags),
        restoring=tuple(restoring),
        without=without,
        in_kit=run.config.in_kit,
    )


def _through_a_folder(job: _Job, folder: BackupFolder) -> tuple[Path, tuple[str, ...]]:
    """Where the backup is, and what the copy lacks."""
    with folder.unfinished() as part:
        dump = [*_dump(job), "--format=directory", f"--jobs={JOBS}", COMPRESSION]
        _programs(job, [[*dump, f"--file={part.path}"]])
        restore = [*_restore(job), f"--jobs={JOBS}"]
        if not job.without.unwanted:
            _programs(job, [[*restore, str(part.path)]])
            return part.prove(), ()
        wanted = contents(job.found, part.path, job.without, in_kit=job.in_kit)
        with wanted.flags() as flags:
            _programs(job, [[*restore, *flags, str(part.path)]])
        return part.prove(), wanted.left_out


def _through_a_pipe(job: _Job, dumping: Sequence[str]) -> tuple[str, ...]:
    """What the copy lacks."""
    through = [*_dump(job), *PIPED, *dumping]
    if not job.without.unwanted:
        _programs(job, [through, _restore(job)])
        return ()
    # A restore can leave something out of a file only. So the definitions go through one, and the
    # rows between them through a pipe; one snapshot makes them one dump.
    with (
        tempfile.TemporaryDirectory(prefix="postdo-") as folder,
        _snapshot(job) as snapshot,
    ):
        file, of = f"{folder}/definitions", f"--snapshot={snapshot}"
        _programs(job, [[*_dump(job), *PIPED, "--schema-only", of, f"--file={file}"]])
        wanted = contents(job.found, Path(file), job.without, in_kit=job.in_kit)
        with wanted.flags() as flags:
            _programs(job, [[*_restore(job), *flags, "--section=pre-data", file]])
            _programs(job, [[*through, "--section=data", of], _restore(job)])
            _programs(job, [[*_restore(job), *flags, "--section=post-data", file]])
    return wanted.left_out


def _dump(job: _Job) -> list[str]:
    return [str(job.found.pg_dump), *job.flags, *job.without.flags]


def _restore(job: _Job) -> list[str]:
    return [str(job.found.pg_restore), *job.flags, *job.restoring]


@contextmanager
def _snapshot(job: _Job) -> Iterator[str]:
    """A snapshot of the database that several dumps can be made of."""
    ((name,),) = rows(job.session, "SELECT current_database()")
    with closing(connect_to(str(name), "postdo copy")) as holder:
        rows(holder, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield str(rows(holder, "SELECT pg_export_snapshot()")[0][0])


def _programs(job: _Job, commands: Sequence[Sequence[str]]) -> None:
    run_together(commands, job.variables, job.deadline)


def _without_rows(session: BaseDatabaseWrapper) -> list[str]:
    """Flags for a dump of all definitions, and the rows only of what Django itself needs.

    One dump, so that pg_restore makes foreign keys after the rows.
    """
    excluded = [
        f"--exclude-table-data={table}" for (table,) in rows(session, ROWLESS, list(KEPT_ROWS))
    ]
    return ["--no-blobs", *excluded]


def _analyze(run: Run, job: _Job, scratch: str) -> None:
    """Statistics, without which queries of the rehearsal take far longer than in production."""
    left_ms = 0
    if job.deadline != float("inf"):
        left_ms = int((job.deadline - time.monotonic()) * 1000)
        if left_ms <= 0:
            raise OutOfTimeError
    with closing(connect_to(scratch, f"postdo copy {run.config.host}")) as there:
        rows(there, "SELECT set_config('statement_timeout', %s::text, false)", left_ms)
        try:
            with run.stop.guarded(lambda: True, lambda: cancel(there)):
                ((statement,),) = rows(there, ANALYZE)
                if statement:
                    rows(there, statement)
        except DatabaseError as error:
            run.stop.check()  # cancelled because of a signal
            if sqlstate(error) == sqlstates.QUERY_CANCELED:
                raise OutOfTimeError from error
            raise Refused(
                f"the copy cannot be analyzed: {message(error)}",
                "fix the cause on the database server, or set REHEARSE=schema for a copy without "
                "rows",
            ) from error


def _failed(run: Run, job: _Job, error: ProgramFailedError) -> Refused:
    everything = " ".join((error.said, *error.details))
    if any(reason in everything for reason in DISK_FULL):
        dumping = error.program == "pg_dump"
        place = f"the disk of {run.config.backups}" if dumping else "the database server's disk"
        return Refused(f"{place} is full: {error.said}", LESS_ROOM)
    if (
        read_privileges.DENIED in everything
        and (denied := read_privileges.refusal(job.session)) is not None
    ):
        return denied
    if "row-level security" in everything:
        return Refused(
            f"the database cannot be copied: {error.said}",
            f"as a superuser: ALTER ROLE {role(job.session)} BYPASSRLS, so that the copy has all "
            "rows; or set REHEARSE=schema for a copy without rows",
        )
    details = error.details
    remedy = (
        "fix the cause, or migrate as a role that may copy the database, or set REHEARSE=off to "
        "skip the copy"
    )
    if lacking := job.without.extensions:
        details += (f"omitted, because only a superuser can create it: {', '.join(lacking)}",)
        if run.config.in_kit:
            remedy = listing(lacking)
    return Refused(
        f"the database cannot be copied: {error.program}: {error.said}", remedy, details=details
    )


def prune(run: Run, session: BaseDatabaseWrapper) -> None:
    """Remove backups beyond the newest ``BACKUP_KEEP``. Only after a change, not after a look."""
    folder = _folder(run, session)
    if folder is not None:
        with suppress(OSError):
            folder.prune()


def sweep(run: Run, session: BaseDatabaseWrapper) -> None:
    """Remove backups that were never finished."""
    with suppress(OSError, DatabaseError, InterfaceError):
        folder = _folder(run, session)
        if folder is not None:
            folder.sweep()


def _folder(run: Run, session: BaseDatabaseWrapper) -> BackupFolder | None:
    if run.config.backups is None:
        return None
    ((name,),) = rows(session, "SELECT current_database()")
    return BackupFolder(run.config.backups, name, run.config.keep)
