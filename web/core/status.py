"""One look at the database: does it answer, which version is it, is it migrated?"""

from dataclasses import dataclass

from django.db import Error, connection

from core import migration_state


@dataclass(frozen=True)
class DatabaseStatus:
    """What one look at the database found.

    answers: whether it could be asked at all. Without that, the rest is empty.
    version: PostgreSQL's, such as ``17.2``.
    applied: how many migrations the database records.
    pending: those on disk that are not applied, such as ``accounts.0002_user_phone``.
    problem: the driver's own words, on one line. They may name hosts and users: for the log only.
    """

    answers: bool
    version: str = ""
    applied: int = 0
    pending: tuple[str, ...] = ()
    problem: str = ""

    @property
    def ready(self) -> bool:
        """Whether requests can be served."""
        return self.answers and not self.pending


def look() -> DatabaseStatus:
    """Ask the default database, by one query. Never raises for a database that is not there."""
    disk = migration_state.on_disk()
    try:
        applied = migration_state.applied()
        version = connection.get_database_version()
    except Error as error:
        # Let go of what is broken, so that the next request starts with a new connection.
        connection.close_if_unusable_or_obsolete()
        return DatabaseStatus(answers=False, problem=" ".join(str(error).split()))
    return DatabaseStatus(
        answers=True,
        version=".".join(map(str, version)),
        applied=len(applied),
        pending=tuple(".".join(key) for key in migration_state.pending(disk, applied)),
    )
