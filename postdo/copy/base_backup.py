"""Use a base backup of the whole server as the copy of a large database.

Only the caller (the kit's ``run.sh``) can start a server from it; it asks ``postdo needs-copy``
first whether one is needed. Before a migration runs there, the server has to prove that it is not
production: it has the same cluster but another start time, and runs without fsync.
"""

from __future__ import annotations

from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.config import Rehearse
from postdo.base.context import Run
from postdo.base.database import closing, connect, message, rows
from postdo.base.errors import Refused
from postdo.base.formatting import MB, megabytes
from postdo.copy.backup import Copied
from postdo.copy.size_limit import check_size, size_of

CONNECT_SECONDS = 10.0  # it has answered its health check
# What PostgreSQL reports for itself: of which cluster it is (a copy has the same), since when it
# runs, and whether it would survive a power failure. PostgreSQL 14 to 18.
WHO = """
SELECT system_identifier, pg_postmaster_start_time(), current_setting('fsync')::boolean
FROM pg_control_system()
"""


def wants_copy(run: Run, session: BaseDatabaseWrapper) -> bool:
    """Whether a database of this size is to be rehearsed on a base backup of the server.

    Not above ``REHEARSE_MAX_MB``: that is refused, whatever the method.
    """
    policies = run.config.policies
    if policies.rehearse is not Rehearse.FULL:
        return False
    return policies.dump_mb * MB < size_of(session) <= policies.copy_mb * MB


def find_copy(run: Run, session: BaseDatabaseWrapper) -> Copied:
    """Describe the base backup on the server whose port we were given.

    Raises ``Refused`` if it is not a copy of this server, or not one that may be thrown away.
    """
    size = check_size(run, session)
    port = run.config.policies.copy_port
    there = _asked(run, port)
    ((cluster, started, _),) = rows(session, WHO)
    if there[1] == started:
        raise _no_copy(port, "is production's own server")
    if there[0] != cluster:
        raise _no_copy(port, "holds another cluster")
    if there[2]:
        raise _no_copy(port, "runs with fsync, as a production server does")
    run.console.tell(f"the database has {megabytes(size)}: it is rehearsed on a base backup")
    return Copied(None, run.config.policies.copy_seconds, size)


def _asked(run: Run, port: int) -> tuple[object, object, bool]:
    try:
        with closing(connect(f"postdo copy {run.config.host}", CONNECT_SECONDS, port=port)) as copy:
            ((cluster, started, durable),) = rows(copy, WHO)
    except (DatabaseError, InterfaceError) as error:
        raise _no_copy(port, f"refuses the connection: {message(error)}") from error
    return cluster, started, bool(durable)


def _no_copy(port: int, why: str) -> Refused:
    return Refused(
        f"the server at port {port} cannot be the copy for the rehearsal: it {why}",
        "raise REHEARSE_DUMP_MB, so that the copy is made by dump and restore",
    )
