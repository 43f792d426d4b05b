"""Apply migrations to a copy of the database, and replace the database with the copy.

Some migrations cannot run in one transaction: VACUUM, a new enum value that is used at once, a
second connection. If they ran directly on the database and failed half way, nobody could undo them.
So ``swap`` does this:

1. Create an empty database beside the current one. Like every scratch database, it is removed by
   the next run if this one is killed.
2. Block writes with table locks (``write_lock``). Reads continue.
3. Copy the current database into the new one, and migrate that, in a worker process.
4. Verify the copy: the same rows, owners, privileges and settings, and the schema of the rehearsal.
5. Rename both databases in one transaction (``rename_databases``). This is the only step that
   changes the current database; until it commits, any failure leaves the database unchanged.

The old database is kept under another name, and the message at the end says how to return to it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone

from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from postdo.base import advisory_lock
from postdo.base.console import Stopwatch
from postdo.base.context import Run
from postdo.base.database import closing, rows
from postdo.base.errors import PostdoError, Refused, Undone, one_line
from postdo.base.formatting import listed
from postdo.copy import backup, extensions, scratch, verify_copy
from postdo.copy.owned_by_others import Foreign, foreign
from postdo.django_migrations.executor import pending_migrations
from postdo.django_migrations.history import RECORDED, Name, dotted
from postdo.django_migrations.model_changes import unreadable
from postdo.rehearsal import process
from postdo.rehearsal.trace import Trace
from postdo.rehearsal.verify import require_same_schema
from postdo.schema import catalogue
from postdo.schema.catalogue import Catalogue
from postdo.schema.expected_change import advance
from postdo.schema.normalize import worded
from postdo.swap.rename_databases import DatabaseRename, maintenance
from postdo.swap.write_lock import WriteLock, tables, write_lock

NAME_BYTES = 63  # NAMEDATALEN - 1, PostgreSQL 14 to 18

CURRENT = "SELECT current_database()"
# What this role may: superuser, create databases, rename this one. PostgreSQL 14 to 18.
RIGHTS = """
SELECT r.rolsuper, r.rolcreatedb, pg_has_role(d.datdba, 'USAGE'), quote_ident(r.rolname),
       quote_ident(d.datname)
FROM pg_roles r, pg_database d
WHERE r.rolname = current_user AND d.datname = current_database()
"""
# What belongs to this very database and would not come along. PostgreSQL 14 to 18.
BOUND = """
SELECT 'logical replication slot ' || slot_name FROM pg_replication_slots
WHERE database = current_database()
UNION ALL SELECT 'publication ' || pubname FROM pg_publication
UNION ALL SELECT 'subscription ' || subname FROM pg_subscription
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL SELECT 'prepared transaction ' || gid FROM pg_prepared_xacts
WHERE database = current_database()
"""
# Sessions on this database that this role may not end: pid, role. By the rule of
# pg_terminate_backend, PostgreSQL 14 to 18.
UNTOUCHABLE = """
SELECT a.pid, t.rolname, t.rolsuper FROM pg_stat_activity a JOIN pg_roles t ON t.oid = a.usesysid
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
  AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
  AND (t.rolsuper OR NOT (pg_has_role(t.oid, 'USAGE')
                          OR pg_has_role('pg_signal_backend', 'USAGE')))
ORDER BY a.pid LIMIT 5
"""
# Brings a sequence to a number that was given out; nothing if a migration dropped it. 14 to 18.
SET_SEQUENCE = "SELECT setval(to_regclass(%s), %s) WHERE to_regclass(%s) IS NOT NULL"


@dataclass(frozen=True)
class Swapped:
    """What was done. ``names``: the migrations, as ``app.name``. ``seconds``: all of it.

    ``readonly_seconds``: for how long nobody could write. ``old_database``: the name under which
    the former database is kept.
    """

    names: tuple[str, ...]
    seconds: float
    readonly_seconds: float
    old_database: str


def swap(
    run: Run,
    session: BaseDatabaseWrapper,
    rehearsed: Trace | None,
    inside: Callable[[BaseDatabaseWrapper], None],
) -> Swapped:
    """Apply all pending migrations to a copy, and put the copy in the database's place.

    ``session`` holds the lock and nothing else. ``inside``: writes the journal, in a session on the
    migrated copy before it takes over. Raises ``Refused`` or ``Undone`` (nothing was changed), and
    ``NotUndone`` if nobody can say whether the databases were exchanged. After any of them
    ``session`` may be closed, and is if the exchange had begun.
    """
    watch = Stopwatch()
    # The rehearsal's backup is enough, and the database from before stays: while writers wait, the
    # copy is made in the fastest way, a pipe (docs/decisions/copy.md).
    run = run.without_backups()
    ((current,),) = rows(session, CURRENT)
    connections.close_all()  # Django's own, which ``require`` would take for somebody else's
    require(run, session)
    names = _pending()
    aside = _aside(current)
    exchange: DatabaseRename | None = None
    try:
        with copy_database(run, session) as copy, write_lock(run) as still:
            run.console.say(
                "swap: a migrated copy will replace the database; writes are blocked now, reads "
                "continue"
            )
            was = _fill(run, session, still, current, copy)
            _migrate(run, copy)
            with closing(_connect_to_copy(run, copy)) as there:
                _verify(there, was, names, rehearsed)
                inside(there)
                rows(there, "ANALYZE")
            exchange = DatabaseRename(run, current, copy, aside, still.watch)
            _exchange(session, still, exchange)
    except Exception as error:
        if exchange is None or exchange.waited is None:
            if isinstance(error, PostdoError):
                raise
            raise Undone(
                f"the database could not be replaced by its migrated copy: {one_line(error)}",
                "fix the cause and try again; the database is unchanged",
            ) from error
        run.console.warn(f"all migrations are applied, but cleaning up failed: {one_line(error)}")
    dotted_names = tuple(dotted((name,)) for name in names)
    return Swapped(dotted_names, watch.seconds, exchange.waited or 0.0, aside)


def require(run: Run, session: BaseDatabaseWrapper) -> None:
    """Raise ``Refused`` if this role cannot swap this database. Changes nothing."""
    ((superuser, may_create, owner, role, name),) = rows(session, RIGHTS)
    if not (superuser or ((may_create or run.config.creator) and owner)):
        raise Refused(
            "a swap needs a role that owns the database and has CREATEDB, and this role lacks one "
            "of them",
            f"as a superuser: ALTER ROLE {role} CREATEDB; ALTER DATABASE {name} OWNER TO {role}",
        )
    others = Foreign() if superuser else foreign(session, (), ())
    if others != Foreign():
        names = (*others.names, *(("an event trigger",) if others.event_triggers else ()))
        raise Refused(
            "a swap would lose objects that this role may not copy: "
            + listed(names or ("functions in C",)),
            "migrate as a superuser, or change the migrations so that they run in one transaction",
        )
    bound = tuple(what for (what,) in rows(session, BOUND))
    if bound:
        raise Refused(
            "a swap would lose these objects, because they are bound to the current database: "
            f"{', '.join(bound)}",
            "remove them and create them again after the swap, or change the migrations so that "
            "they run in one transaction",
        )
    untouchable = rows(session, UNTOUCHABLE)
    if untouchable:
        pid, other, is_superuser = untouchable[0]
        grant = "" if is_superuser else f"; or, as a superuser: GRANT pg_signal_backend TO {role}"
        raise Refused(
            f"role {other} is connected (pid {pid}), and this role may not end its sessions",
            f"end it: SELECT pg_terminate_backend({pid}) as that role or a superuser{grant}",
            details=tuple(f"pid {pid}: {other}" for pid, other, _ in untouchable),
        )
    tables(session)
    with maintenance(run, rows(session, CURRENT)[0][0]):
        pass
    backup.check_room(run, session, schema_only=False)


@contextmanager
def copy_database(run: Run, session: BaseDatabaseWrapper) -> Iterator[str]:
    """Yield an empty database that can take this one's place; it is dropped if it did not.

    It is a scratch database by name and lock, so that the next run removes it if we are killed.
    """
    ((current,),) = rows(session, CURRENT)
    scratch.remove_abandoned(run, session)
    name = scratch.prefix_of(current) + secrets.token_hex(4)  # its own secret, shared with us
    rows(session, advisory_lock.TRY_LOCK, scratch.lock_key(name))
    try:
        missed = scratch.create_like(run, session, name)
        if missed:
            raise Refused(
                f"a swap would lose settings of the database that this role may not set: "
                f"{', '.join(missed)}",
                "migrate as the role that made these settings, or as a superuser",
            )
        _require_extensions(run, session, name)
        yield name
    finally:
        try:
            scratch.drop_database(session, name)  # nothing, if it has another name by now
        except (DatabaseError, InterfaceError) as error:
            run.console.warn(
                f"{name} could not be removed ({one_line(error)}); the next run removes it"
            )
        with suppress(DatabaseError, InterfaceError):
            rows(session, advisory_lock.UNLOCK, scratch.lock_key(name))


def _require_extensions(run: Run, session: BaseDatabaseWrapper, copy: str) -> None:
    """Raise ``Refused`` if the copy cannot have them all, while nobody waits for it yet."""
    if rows(session, RIGHTS)[0][0]:  # a superuser
        return
    lacking = extensions.forbidden(run, session, copy)
    if lacking:
        raise Refused(
            f"a swap would lose {', '.join(lacking)}: only a superuser can create this extension",
            "add it to DB_EXTENSIONS in .env and try again; without the kit, migrate as a "
            "superuser",
        )


def _fill(
    run: Run, session: BaseDatabaseWrapper, still: WriteLock, current: str, copy: str
) -> Catalogue:
    """Copy everything; the schema of the copy. Raises ``Undone`` if it is not all there."""
    try:
        copied = backup.copy(run, session, copy, schema_only=False)
    except Refused:
        _require_still(still)  # its loss, and who caused that, explain the copy's
        raise
    run.console.say(f"swap: copied in {copied.seconds:.1f} s")
    with closing(_connect_to_copy(run, copy)) as there:
        if not rows(session, RIGHTS)[0][0]:
            verify_copy.give_privileges(session, there)
        unlike = verify_copy.differences(session, there, current, copy)
        was = catalogue.read(there)
    _require_still(still)
    unlike += tuple(f"missing in the copy: {what}" for what in copied.left_out)
    if unlike:
        raise Undone(
            "the copy is incomplete: this role may not copy owners, privileges or extensions",
            "migrate as a superuser, or as the owner of everything in the database",
            details=unlike,
        )
    return was


def _migrate(run: Run, copy: str) -> None:
    budget = run.config.policies.rehearse_seconds
    job = process.Job(database=copy, mode="plain", isolated=False, trace=False, seconds=budget)
    failure = process.work(run, job).failure
    if failure is not None:
        at = f" at {failure.place}" if failure.place else ""
        raise Undone(
            f"{failure.migration or 'migrate'}: {failure.what}",
            f"fix the migration{at}, or the rows on which it fails, and try again",
            details=("the migrations failed on a copy; the database is unchanged", *failure.rows),
        )


def _verify(
    there: BaseDatabaseWrapper, was: Catalogue, names: tuple[Name, ...], rehearsed: Trace | None
) -> None:
    """Raise ``Undone`` if the migrated copy is not what was rehearsed. ``was``: its schema before.

    What somebody made since the rehearsal came along, and is none of it.
    """
    recorded = {(app, name) for app, name in rows(there, RECORDED)}
    missing = tuple(name for name in names if name not in recorded)
    if missing:
        raise Undone(
            f"not recorded as applied after migrate: {dotted(missing)}",
            "fix the project's own migrate command and try again",
        )
    if rehearsed:
        was = worded(there, was, rehearsed.before)
        expected = advance(was, rehearsed.before, rehearsed.after)
        require_same_schema(there, expected, catalogue.read(there))


def _exchange(session: BaseDatabaseWrapper, still: WriteLock, exchange: DatabaseRename) -> None:
    """Let them change places."""
    run, current, aside = exchange.run, exchange.current, exchange.aside

    def last_look() -> None:
        _require_still(still)
        if not advisory_lock.is_held(session):
            raise Undone("postdo lost its lock (the session ended)", "try again")
        _carry(run, still.moved_sequences(), exchange.copy)

    with run.stop.guarded():
        exchange.make((still.session, session), last_look)
        run.console.say(f"swap: done; writes were blocked for {exchange.waited:.1f} s")
        run.console.say(
            f'swap: the old database is kept as {aside}. To remove it: DROP DATABASE "{aside}"'
        )
        run.console.say(
            f"swap: to go back, without what was written since: stop the site, then"
            f"{_as_superuser(run)}: "
            f'ALTER DATABASE "{current}" RENAME TO "{current}_after"; '
            f'ALTER DATABASE "{aside}" RENAME TO "{current}"'
        )


def _as_superuser(run: Run) -> str:
    """Where a person may rename databases: the site's own role may not, in the kit."""
    if not run.config.in_kit:
        return ", in another database"
    return f", in {run.config.psql} -U postdo_superuser -d postgres"


def _require_still(still: WriteLock) -> None:
    reason = still.disturbed()
    if reason:
        raise Undone(f"the copy may be out of date: {reason}", "try again")


def _carry(run: Run, moved: dict[str, int], copy: str) -> None:
    """Numbers that were given out meanwhile are not given out again."""
    if moved:
        with closing(_connect_to_copy(run, copy)) as there:
            for name, value in moved.items():
                rows(there, SET_SEQUENCE, name, value, name)


def _pending() -> tuple[Name, ...]:
    """What Django would apply to the project's database."""
    connection = connections[DEFAULT_DB_ALIAS]  # the recorder asks this one, whatever it is given
    try:
        executor = MigrationExecutor(connection)
        left = pending_migrations(executor)
    except DatabaseError:
        raise
    except Exception as error:
        raise unreadable(error) from error
    finally:
        connection.close()  # it would be ended with all others
    return tuple((step.app_label, step.name) for step in left)


def _connect_to_copy(run: Run, copy: str) -> BaseDatabaseWrapper:
    return scratch.connect_to(copy, f"postdo {run.config.host} swap")


def _aside(current: str) -> str:
    stamp = f"_before_{datetime.now(timezone.utc):%Y%m%d%H%M%S}"
    return current.encode()[: NAME_BYTES - len(stamp)].decode(errors="ignore") + stamp
