"""Write a set: the database and its roles, the uploads, the site's files, .env.

The dump, the row counts and the digests are of one snapshot. The tables are locked (ACCESS SHARE,
as pg_dump locks them) before it is taken, because a TRUNCATE in between would be seen by one of
them and not by the other.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import postdo
from postdo.base.formatting import MB, megabytes
from postdo_backup import archives, digests
from postdo_backup import database as db
from postdo_backup.digests import Content
from postdo_backup.errors import BackupFailed, one_line
from postdo_backup.folder import unfinished
from postdo_backup.manifest import Manifest, file_of, write
from postdo_backup.output import Output
from postdo_backup.programs import FREE_SOME, program, run, running

DUMP, GLOBALS, UPLOADS, SITE = "database.dump", "globals.sql", "uploads.tar", "site.tar.gz"
ENV, OVERRIDE = "env", "override"
LOCK_TRIES = 5  # a table was dropped between the list and the lock
LOCK_SECONDS = 10  # for a migration to let go; visitors queue behind whoever waits for us
LOCK_TIMEOUT, STATEMENT_TIMEOUT = "lock timeout", "statement timeout"
# gzip 1, which every pg_restore reads: 232 MB became 48 MB in 1.0 s; 46 MB in 2.3 s with level 6.
DUMP_OPTIONS = ("--format=custom", "--compress=1", "--no-password")
DUMP_FACTOR = 0.5  # gzip 1 made 0.2 of 232 MB of text, numbers and their indexes
MARGIN_MB = 200  # for what else is written meanwhile
# The other processors are for visitors, who are served meanwhile.
ONE_PROCESS = "SET max_parallel_workers_per_gather = 0"
# What pg_dump locks, quoted. PostgreSQL 14 to 18.
LOCKED = """
SELECT format('ONLY %I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
ORDER BY c.oid
"""
SERVER = """
SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000,
       pg_encoding_to_char(encoding), datcollate, datctype, datname
FROM pg_database WHERE datname = current_database()
"""
ROLES = "SELECT rolname, format('%I', rolname) FROM pg_roles WHERE rolname !~ '^pg_'"


@dataclass(frozen=True)
class Request:
    """What to write where.

    - ``final``: the path that the finished set has. ``address``: of the database.
    - ``globals``: what pg_dumpall --globals-only printed; without it, it is run here.
    - ``uploads``, ``site``: folders; ``env``, ``override``: files. What does not exist is left out.
    - ``recipient``: the age recipient for whom everything is encrypted.
    - ``bucket``: where the site keeps its uploads, if not in the folder: it is only named.
    - ``facts``: project, mode and why. ``image``: of the server. ``release``: of the site.
    """

    final: Path
    address: str
    globals: Path | None = None
    uploads: Path | None = None
    site: Path | None = None
    env: Path | None = None
    override: Path | None = None
    recipient: str | None = None
    bucket: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    image: Mapping[str, str] = field(default_factory=dict)
    release: Mapping[str, str] = field(default_factory=dict)


def create(request: Request) -> Manifest:
    """Write the set; its manifest. Raises ``BackupFailed``, and then leaves nothing."""
    began = datetime.now(timezone.utc)
    try:
        with unfinished(request.final) as part:
            output = Output(part, request.recipient)
            manifest = replace(_database(request, output), made_at=f"{began:%Y-%m-%dT%H:%M:%SZ}")
            _files(request, output)
            paths = sorted(path for path in part.iterdir())
            manifest = replace(manifest, files=tuple(file_of(path) for path in paths))
            write(part, manifest)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise BackupFailed(
            f"the backup cannot be written: {where}{error.strerror or error}",
            "make backups/ writable or free some disk space there, then run the command again",
        ) from error
    return manifest


def _database(request: Request, output: Output) -> Manifest:
    """Dump, roles and content of the database; a manifest that knows no files yet."""
    try:
        connection = db.connect(request.address)
    except db.driver().Error as error:
        raise BackupFailed(
            f"PostgreSQL cannot be reached: {one_line(error)}", "start the site, then try again"
        ) from error
    try:
        ((version, major, encoding, collate, ctype, name),) = db.rows(connection, SERVER)
        _check_room(request, connection)
        db.rows(connection, ONE_PROCESS)
        with _snapshot(connection) as snapshot:
            _globals(request, output, connection, major)
            before = digests.sequences(connection)
            _dump(request, output, major, snapshot)
            tables = digests.tables(connection)
            after = digests.sequences(connection)
    except db.driver().Error as error:
        raise BackupFailed(
            f"PostgreSQL failed while the backup was written: {one_line(error)}",
            "see its log, then run the command again",
        ) from error
    finally:
        connection.close()
    latest = {each.key: each.next for each in after}
    sequences = tuple(replace(each, latest=latest.get(each.key, each.next)) for each in before)
    return Manifest(
        kit=postdo.__version__,
        project=request.facts.get("project", ""),
        mode=request.facts.get("mode", ""),
        made_at="",
        why=request.facts.get("why", "command"),
        postgresql={
            "version": version,
            "major": major,
            "encoding": encoding,
            "locale": collate if collate == ctype else f"{collate} {ctype}",
            **request.image,
        },
        release=dict(request.release),
        database=name,
        content=Content(tables, sequences),
        files=(),
        encrypted=request.recipient,
        bucket=request.bucket,
    )


def _check_room(request: Request, connection: Any) -> None:
    """A disk that a backup fills is often PostgreSQL's own, which then stops."""
    ((size,),) = db.rows(connection, "SELECT pg_database_size(current_database())")
    uploads = archives.size(request.uploads) if request.uploads else 0
    needed = int(DUMP_FACTOR * size) + uploads + MARGIN_MB * MB
    free = shutil.disk_usage(request.final.parent).free
    if free < needed:
        raise BackupFailed(
            f"the backup can need {megabytes(needed)}, but {request.final.parent} has "
            f"{megabytes(free)} free",
            FREE_SOME,
        )


@contextmanager
def _snapshot(connection: Any) -> Iterator[str]:
    """In the block, every table is locked and the connection sees the snapshot of that name."""
    for left in reversed(range(LOCK_TRIES)):
        names = [name for (name,) in db.rows(connection, LOCKED)]
        db.rows(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        try:
            db.rows(connection, f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
            if names:
                db.rows(connection, f"LOCK TABLE {', '.join(names)} IN ACCESS SHARE MODE")
            break
        except db.driver().Error as error:
            db.rows(connection, "ROLLBACK")
            if not left:
                raise (_locked() if LOCK_TIMEOUT in str(error) else error) from error
    ((name,),) = db.rows(connection, "SELECT pg_export_snapshot()")
    yield str(name)
    db.rows(connection, "COMMIT")


def _globals(request: Request, output: Output, connection: Any, major: int) -> None:
    """Roles, which belong to no database and to no snapshot: none of the snapshot's may lack."""
    if request.globals:
        text = request.globals.read_text(encoding="utf-8")
    else:
        address, secret = db.for_a_program(request.address)
        options = ("--globals-only", "--no-password", f"--dbname={address}")
        text = run([program("pg_dumpall", major), *options], secret=secret)
    created = set(re.findall(r"^CREATE ROLE (.+);$", text, re.MULTILINE))
    if lacking := [name for name, quoted in db.rows(connection, ROLES) if quoted not in created]:
        raise BackupFailed(
            f"the role {lacking[0]} was created while the backup began", "run the command again"
        )
    with output.file(GLOBALS) as file:
        file.write(text.encode())


def _dump(request: Request, output: Output, major: int, snapshot: str) -> None:
    address, secret = db.for_a_program(request.address)
    command: list[str | Path] = [
        program("pg_dump", major),
        *DUMP_OPTIONS,
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={LOCK_SECONDS}s",
        f"--dbname={address}",
    ]
    try:
        _run_dump(command, output, secret)
    except BackupFailed as error:
        if STATEMENT_TIMEOUT in error.what:  # so pg_dump waits for its locks, and for nothing else
            raise _locked() from error
        raise


def _locked() -> BackupFailed:
    return BackupFailed(
        f"a table stayed locked for {LOCK_SECONDS} s, by a change of its definition",
        "run the command again when that has ended",
    )


def _run_dump(command: list[str | Path], output: Output, secret: Mapping[str, str]) -> None:
    if output.recipient is None:  # to a file of its own, in which pg_dump notes where each table is
        with running([*command, f"--file={output.folder / DUMP}"], secret=secret):
            return
    with output.file(DUMP) as file, running(command, output=file, secret=secret):
        pass


def _files(request: Request, output: Output) -> None:
    """After the database: what a row names was there before the row."""
    if request.uploads and archives.has_files(request.uploads):
        with output.file(UPLOADS) as file:
            archives.write_uploads(request.uploads, file)
    if request.site:
        with output.file(SITE) as file:
            archives.write_site(request.site, file)
    for name, path in ((ENV, request.env), (OVERRIDE, request.override)):
        if path and path.is_file():
            with path.open("rb") as source, output.file(name) as file:
                shutil.copyfileobj(source, file)
