"""Create databases that are used for a short time and then removed, even if postdo is killed.

A scratch database is named after the project's database. As long as it is in use, a session holds
an advisory lock that is derived from its name. PostgreSQL releases the lock when the session ends,
for whatever reason. So a scratch database whose lock is free was abandoned, and the next run
removes it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone

from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base import sqlstates
from postdo.base.advisory_lock import HOLDS, STAY, TRY_LOCK, UNLOCK
from postdo.base.config import Login
from postdo.base.context import Run
from postdo.base.database import (
    closing,
    connect,
    message,
    rows,
    sqlstate,
)
from postdo.base.errors import Refused
from postdo.base.formatting import identifier
from postdo.base.signals import Stopped
from postdo.copy import create_database

PREFIX = "postdo_scratch_"
CONNECT_SECONDS = 10.0  # the server has just answered; longer than a busy one takes for one more

# Database, role, and whether this role may make databases. PostgreSQL 14 to 18.
WHO = """
SELECT current_database(), current_user, rolsuper OR rolcreatedb
FROM pg_roles WHERE rolname = current_user
"""
SUPERUSER = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
# The role that logged in, if another one is assumed. PostgreSQL 14 to 18.
LOGIN = "SELECT session_user::text WHERE session_user <> current_user"
# Databases whose name matches, with their comments. PostgreSQL 14 to 18.
NAMED = """
SELECT datname, coalesce(shobj_description(oid, 'pg_database'), '')
FROM pg_database WHERE datname ~ %s ORDER BY datname
"""


@contextmanager
def scratch_database(run: Run, session: BaseDatabaseWrapper) -> Iterator[str]:
    """Yield the name of a new empty database like the session's; it is dropped at the end.

    It has the same encoding, collation, owner and settings, and the extensions that only a
    superuser can create. Meanwhile ``session``, in autocommit, holds an advisory lock that belongs
    to the name: whoever finds such a database with a free lock may drop it. Raises ``Refused`` if
    the role may not create databases, or the server cannot.
    """
    ((source, _, _),) = rows(session, WHO)
    remove_abandoned(run, session)
    name = prefix_of(source) + secrets.token_hex(4)
    rows(session, STAY)
    rows(session, TRY_LOCK, lock_key(name))  # before it exists, so that nobody finds it unlocked
    try:
        with run.stop.guarded():
            _create(run, session, source, name)
        yield name
    except BaseException:
        with suppress(Stopped):  # the first error counts
            _remove(run, session, name)
        raise
    _remove(run, session, name)


def remove_abandoned(run: Run, session: BaseDatabaseWrapper) -> tuple[str, ...]:
    """Drop scratch databases of this database that killed runs have left. Returns their names.

    One that cannot be dropped (it belongs to another role) is reported and stays.
    """
    ((source, _, _),) = rows(session, WHO)
    removed = []
    for name, comment in rows(session, NAMED, f"^{prefix_of(source)}[0-9a-f]{{8}}$"):
        key = lock_key(name)
        # The lock can be taken twice by one session, and ours may have another one in use.
        if rows(session, HOLDS, key)[0][0] or not rows(session, TRY_LOCK, key)[0][0]:
            continue
        try:
            create_database.drop(session, name)
        except DatabaseError as error:
            run.console.warn(
                f"an earlier run left the database {name}, which cannot be removed: "
                f"{message(error)}"
            )
        else:
            removed.append(name)
            run.console.say(
                f"removed {name}, which an earlier run left behind ({comment or 'unnamed'})"
            )
        finally:
            with suppress(DatabaseError, InterfaceError):
                rows(session, UNLOCK, key)
    return tuple(removed)


def create_like(run: Run, session: BaseDatabaseWrapper, name: str) -> tuple[str, ...]:
    """Create an empty database that can take the place of the session's.

    It is alike in encoding, locale, tablespace, owner, privileges, connection limit, comment and
    the settings for all and for single roles. Returns, in words, the settings that this role may
    not copy. Raises ``Refused`` if it cannot be created; nothing of it is left then.
    """
    ((source, _, _),) = rows(session, WHO)
    try:
        with creating(run, session) as creator:
            create_database.create(session, name, creator, _template(run, session))
    except DatabaseError as error:
        raise _cannot(source, error) from error
    try:
        return create_database.copy_rights(session, name)
    except BaseException as error:
        with suppress(DatabaseError, InterfaceError):
            create_database.drop(session, name)
        if isinstance(error, DatabaseError):
            raise _cannot(source, error) from error
        raise


def drop_database(session: BaseDatabaseWrapper, name: str) -> None:
    """Drop a database and end the sessions on it, if it exists. Raises Django's errors.

    It opens a new session if this one is lost.
    """
    try:
        create_database.drop(session, name)
    except (DatabaseError, InterfaceError):
        with closing(connect("postdo drop", CONNECT_SECONDS)) as fresh:
            create_database.drop(fresh, name)


def connect_to(name: str, application_name: str, login: Login | None = None) -> BaseDatabaseWrapper:
    """A session on another database of the same server, otherwise like ``database.connect``."""
    return connect(application_name, CONNECT_SECONDS, name=name, login=login)


@contextmanager
def creating(run: Run, session: BaseDatabaseWrapper) -> Iterator[BaseDatabaseWrapper]:
    """Yield a session that may create and rename databases: this one, or one of ``creator``.

    Raises ``Refused`` if neither may.
    """
    ((source, role, may_create),) = rows(session, WHO)
    if may_create:
        yield session
        return
    login = run.config.creator
    if login is None:
        remedy = f"as a superuser: ALTER ROLE {identifier(role)} CREATEDB"
        if run.config.in_kit:  # run.sh lends a release the role that may
            remedy = "use run.sh, which lends the privilege: sh run.sh -0"
        raise Refused(
            f"the role {role} may not create databases, which a rehearsal needs",
            f"{remedy}; or set REHEARSE=off to skip the rehearsal",
        )
    with closing(connect_to(source, f"postdo {run.config.host}", login)) as creator:
        yield creator


def lock_key(name: str) -> int:
    """The key of the advisory lock of a scratch database: 56 bits of a hash, so it is positive."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")


def prefix_of(source: str) -> str:
    """What the names of scratch databases of this source begin with, whatever its length.

    24 of the 63 bytes that a name may have.
    """
    return f"{PREFIX}{hashlib.sha256(source.encode()).hexdigest()[:8]}_"


def _template(run: Run, session: BaseDatabaseWrapper) -> str:
    """template0, whose encoding and locale need not be the same.

    Or template1, where the kit has the extensions that the role cannot create (DB_EXTENSIONS).
    """
    if rows(session, SUPERUSER)[0][0] or not create_database.untrusted(session):
        return "template0"
    try:
        with closing(connect_to("template1", f"postdo {run.config.host}")) as template:
            return "template1" if create_database.provides(template, session) else "template0"
    except (DatabaseError, InterfaceError):
        return "template0"


def _create(run: Run, session: BaseDatabaseWrapper, source: str, name: str) -> None:
    made = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    comment = f"postdo: copy of {source}, made by {run.config.host} at {made}; safe to drop"
    try:
        with creating(run, session) as creator:
            create_database.create(session, name, creator, _template(run, session))
        # It holds personal data: nobody but its owner and superusers has any business there.
        create_database.execute(session, "REVOKE CONNECT ON DATABASE %I FROM PUBLIC", name)
        for (who,) in rows(session, LOGIN):  # who logs in, where the settings assume a role
            create_database.execute(session, "GRANT CONNECT ON DATABASE %I TO %I", name, who)
        create_database.execute(session, "COMMENT ON DATABASE %I IS %L", name, comment)
        missed = create_database.copy_settings(session, name)
        create_database.execute(session, "ALTER DATABASE %I SET synchronous_commit TO off", name)
    except DatabaseError as error:
        raise _cannot(source, error) from error
    if missed:
        run.console.say(
            f"the temporary database lacks settings of the original: {', '.join(missed)}"
        )


def _remove(run: Run, session: BaseDatabaseWrapper, name: str) -> None:
    """Drop it, and never fail: the next run removes what stays. ``Stopped`` comes afterwards."""
    with run.stop.guarded():
        try:
            drop_database(session, name)
        except (DatabaseError, InterfaceError) as error:
            run.console.warn(
                f"the temporary database {name} could not be removed ({message(error)}); the next "
                "run removes it"
            )
        with suppress(DatabaseError, InterfaceError):
            rows(session, UNLOCK, lock_key(name))


def _cannot(source: str, error: DatabaseError) -> Refused:
    state = sqlstate(error)
    what = f"no temporary copy of database {source} can be created: {message(error)}"
    if state == sqlstates.DISK_FULL:
        return Refused(what, "free some disk space on the database server")
    if state == sqlstates.OBJECT_IN_USE:
        return Refused(what, "try again when nobody is connected to the database template1")
    return Refused(
        what, "fix the cause on the database server, or set REHEARSE=off to skip the rehearsal"
    )
