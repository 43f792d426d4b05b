"""How big a database may be to be copied at all, whatever the method."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.context import Run
from postdo.base.database import rows
from postdo.base.errors import Refused
from postdo.base.formatting import MB, megabytes

# In bytes. PostgreSQL 14 to 18.
SIZE = "SELECT pg_database_size(current_database())"


def size_of(session: BaseDatabaseWrapper) -> int:
    """The size of the database that a session is connected to, in bytes."""
    return int(rows(session, SIZE)[0][0])


def check_size(run: Run, session: BaseDatabaseWrapper) -> int:
    """The size of the database in bytes. Raises ``Refused`` if it is above ``REHEARSE_MAX_MB``."""
    size, most = size_of(session), run.config.policies.copy_mb
    if size > most * MB:
        raise Refused(
            f"the database has {megabytes(size)}, but REHEARSE_MAX_MB allows a copy of {most} MB",
            "raise REHEARSE_MAX_MB, or set REHEARSE=schema for a copy without rows",
        )
    return size
