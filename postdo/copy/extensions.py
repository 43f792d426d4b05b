"""The extensions of a copy: which it lacks, and in which version it has them."""

from __future__ import annotations

from contextlib import suppress

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base import sqlstates
from postdo.base.context import Run
from postdo.base.database import closing, rows, sqlstate
from postdo.copy.create_database import untrusted
from postdo.copy.scratch import connect_to

# Statements that create the extensions that CREATE EXTENSION alone would make in another version,
# in the order in which they were made. PostgreSQL 14 to 18.
OLDER = """
SELECT format('CREATE EXTENSION IF NOT EXISTS %I WITH SCHEMA %I VERSION %L',
              e.extname, n.nspname, e.extversion)
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
JOIN pg_available_extensions a ON a.name = e.extname
WHERE e.extversion <> a.default_version AND n.nspname IN ('public', 'pg_catalog') ORDER BY e.oid
"""
EXTENSIONS = "SELECT extname FROM pg_extension ORDER BY extname"


def forbidden(run: Run, session: BaseDatabaseWrapper, scratch: str) -> tuple[str, ...]:
    """The extensions that this role cannot create.

    Each is tried, because servers have own rules.
    """
    names = sorted(untrusted(session))
    if not names:
        return ()
    forbidden = []
    with closing(connect_to(scratch, f"postdo copy {run.config.host}")) as there:
        for name in names:
            rows(there, "BEGIN")
            try:
                rows(there, 'CREATE EXTENSION "' + name.replace('"', '""') + '" CASCADE')
            except DatabaseError as error:
                if sqlstate(error) == sqlstates.INSUFFICIENT_PRIVILEGE:
                    forbidden.append(name)
            rows(there, "ROLLBACK")
    if forbidden:
        run.console.say(f"the copy omits {', '.join(forbidden)}: only a superuser can create that")
    return tuple(forbidden)


def provided(run: Run, scratch: str) -> tuple[str, ...]:
    """Extensions that the scratch database got from its template; a restore leaves them out."""
    with closing(connect_to(scratch, f"postdo copy {run.config.host}")) as there:
        return tuple(name for (name,) in rows(there, EXTENSIONS) if name != "plpgsql")


def same_versions(run: Run, session: BaseDatabaseWrapper, scratch: str) -> None:
    """Create extensions in the source's version where that is not the default; pg_dump names none.

    Those in a schema that the restore creates are left to it. One that cannot be created here gets
    another version, or the restore fails with the reason.
    """
    older = rows(session, OLDER)
    if not older:
        return
    with closing(connect_to(scratch, f"postdo copy {run.config.host}")) as there:
        for (statement,) in older:
            with suppress(DatabaseError):
                rows(there, statement)
