"""Put the database of a set into a server, and compare it with the manifest, table by table.

The same for a drill, for a restore beside the site's database and for an empty machine. The target
is always a new database, so the site's own is not touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postdo_backup import database as db
from postdo_backup import digests
from postdo_backup.create import DUMP, GLOBALS
from postdo_backup.errors import BackupFailed, Damaged, one_line
from postdo_backup.manifest import ANOTHER, Manifest
from postdo_backup.programs import program, running
from postdo_backup.source import Source

# Nothing of it stays if something of it fails. Tablespaces are of the machine that they were on.
RESTORE_OPTIONS = ("--exit-on-error", "--single-transaction", "--no-tablespaces", "--no-password")
DUPLICATE_OBJECT = "42710"  # https://www.postgresql.org/docs/18/errcodes-appendix.html
# A database, if it is there: what CREATE DATABASE was told of its texts. The columns for the locale
# differ, so they are read by name: daticulocale 15 and 16, datlocale 17 on. PostgreSQL 14 to 18.
LIKENESS = """
SELECT pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, to_jsonb(d) ->> 'datlocprovider',
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')
FROM pg_database d WHERE d.datname = {name}
"""
# A server that is killed, or has no disk left, says nothing of the set.
SERVER_ENDED = re.compile(
    r"FATAL: |connection to server|server closed the connection|no connection to"
)
MAJOR = "SELECT current_setting('server_version_num')::int / 10000"
# Folders of the machine that they were on.
TABLESPACE = re.compile(r"(CREATE|ALTER|COMMENT ON) TABLESPACE |(GRANT|REVOKE) .* ON TABLESPACE ")
STATEMENT = re.compile(
    r"""
    \s* (?: -- [^\n]* | \\ [^\n]*            # a comment, or a command of psql
    | (?P<statement> (?: E'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | [^;'"] )+ ) ; )
    """,
    re.VERBOSE | re.DOTALL,
)
PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}


class Different(Damaged):
    """The restored database is not what the manifest says. ``lines``: one for each difference."""

    def __init__(self, name: str, lines: tuple[str, ...]) -> None:
        more = f", and {len(lines) - 1} more" if len(lines) > 1 else ""
        super().__init__(f"{name} does not restore to what it was: {lines[0]}{more}", ANOTHER)
        self.lines = lines


@dataclass(frozen=True)
class Target:
    """Where to. ``server``: an URL without a database, of a superuser."""

    server: str
    database: str
    owner: str

    def address(self, name: str) -> str:
        """The URL of one of the server's databases."""
        return f"{self.server}/{name}"


def restore(source: Source, target: Target, *, roles: bool = False) -> None:
    """Restore a set, whose files were checked, and compare. Raises ``BackupFailed``.

    A database of the target's name is replaced. ``roles``: also the roles, for a new server. Raises
    ``Different`` if the rows are not those of the manifest.
    """
    try:
        major = _make_room(source, target, roles=roles)
        _restore_dump(source, target, major)
        connection = db.connect(target.address(target.database))
        try:
            found = digests.content(connection)
        finally:
            connection.close()
    except db.driver().Error as error:
        raise BackupFailed(
            f"PostgreSQL failed while {source.name} was restored: {one_line(error)}",
            "see its log, then run the command again",
        ) from error
    if lines := digests.differences(source.manifest.content, found):
        raise Different(source.name, lines)


def _make_room(source: Source, target: Target, *, roles: bool) -> int:
    """An empty database, and the roles if they are wanted; the server's major."""
    connection = db.connect(target.address("postgres"))
    try:
        ((major,),) = db.rows(connection, MAJOR)
        require_major(source, major)
        if roles:
            _restore_roles(source, connection)
        name, owner = (_identifier(connection, each) for each in (target.database, target.owner))
        db.rows(connection, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        likeness = _likeness(connection, source.manifest)
        db.rows(connection, f"CREATE DATABASE {name} OWNER {owner} TEMPLATE template0 {likeness}")
    finally:
        connection.close()
    return int(major)


def require_major(source: Source, major: int) -> None:
    """Refuse a set of a newer PostgreSQL, which an older one cannot read."""
    own = int(source.manifest.postgresql["major"])
    if own > major:
        raise BackupFailed(
            f"it is of PostgreSQL {own}, which PostgreSQL {major} here cannot read",
            f"use an older set, or restore it on a machine with PostgreSQL {own}",
        )


def _likeness(connection: Any, manifest: Manifest) -> str:
    """How the new database treats texts: as the site's own here, or else as the manifest says."""
    found = db.rows(connection, LIKENESS.format(name=db.literal(manifest.database)))
    if found:
        encoding, collate, ctype, provider, locale = found[0]
    else:
        collate, _, ctype = str(manifest.postgresql["locale"]).partition(" ")
        encoding, provider, locale = manifest.postgresql["encoding"], None, None
    parts = [f"ENCODING {db.literal(encoding)} LC_COLLATE {db.literal(collate)}"]
    parts.append(f"LC_CTYPE {db.literal(ctype or collate)}")
    if provider in PROVIDERS:
        parts.append(f"LOCALE_PROVIDER {PROVIDERS[provider]}")
    if locale and provider in ("i", "b"):
        word = "ICU_LOCALE" if provider == "i" else "BUILTIN_LOCALE"
        parts.append(f"{word} {db.literal(locale)}")
    return " ".join(parts)


def _restore_dump(source: Source, target: Target, major: int) -> None:
    address, secret = db.for_a_program(target.address(target.database))
    command: list[str | Path] = [
        program("pg_restore", major),
        *RESTORE_OPTIONS,
        f"--dbname={address}",
    ]
    try:
        with source.opened(DUMP) as dump, running(command, source=dump, secret=secret):
            pass
    except BackupFailed as error:
        if error.what.startswith("pg_restore failed: ") and not SERVER_ENDED.search(error.what):
            raise Damaged(f"{source.name} does not restore: {error.what}", ANOTHER) from error
        raise


def _restore_roles(source: Source, connection: Any) -> None:
    """What pg_dumpall wrote of them. A role that is there already, such as our own, is altered."""
    with source.opened(GLOBALS) as file:
        text = file.read().decode("utf-8")
    for statement in statements(text):
        try:
            db.rows(connection, statement)
        except db.driver().Error as error:
            code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
            if not (statement.startswith("CREATE ROLE ") and code == DUPLICATE_OBJECT):
                raise


def statements(text: str) -> Iterator[str]:
    """The statements of what pg_dumpall wrote, but for those of tablespaces.

    Without comments and psql's own commands. It sets standard_conforming_strings, so that only E''
    has backslashes.
    """
    for found in STATEMENT.finditer(text):
        statement = found["statement"]
        if statement and not TABLESPACE.match(statement):
            yield statement


def _identifier(connection: Any, name: str) -> str:
    ((quoted,),) = db.rows(connection, f"SELECT format('%I', {db.literal(name)}::text)")
    return str(quoted)
