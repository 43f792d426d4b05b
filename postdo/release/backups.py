"""Keep the backup of a release only if the release changed something.

The rehearsal writes a backup that is marked as unfinished. It is finished just before the database
is changed, and removed if the database stays unchanged: BACKUP_KEEP limits the number of backups,
and one from before no change would displace one from before a real change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.context import Run
from postdo.base.errors import one_line
from postdo.copy import backup, backup_folder
from postdo.plan.decide import Plan


@contextmanager
def no_unfinished(run: Run, session: BaseDatabaseWrapper) -> Iterator[None]:
    """Inside one may be made; whatever ends it before ``finish``, none is left."""
    try:
        yield
    finally:
        backup.sweep(run, session)


def finish(plan: Plan) -> None:
    """From here on production is touched. Raises ``Refused``."""
    if path := _backup(plan):
        backup_folder.finish(path)


def forget(plan: Plan) -> None:
    """All is as before."""
    if path := _backup(plan):
        backup_folder.remove(path)


def tell(run: Run, plan: Plan) -> None:
    """Where the data from before are."""
    if path := _backup(plan):
        # In the kit the folder is mounted from the clone.
        shown = f"backups/{path.name}" if run.config.in_kit else path
        run.console.tell(f"backup from before the release: {shown}")
        run.console.facts.add("backup", path)


def prune(run: Run, session: BaseDatabaseWrapper) -> None:
    """Keep no more than the policy says: after the change, so that it cannot make it fail."""
    try:
        backup.prune(run, session)
    except (DatabaseError, InterfaceError) as error:
        run.console.warn(
            f"all migrations are applied, but old backups could not be removed: {one_line(error)}"
        )


def _backup(plan: Plan) -> Path | None:
    rehearsal = plan.findings.rehearsal
    return Path(rehearsal.backup) if rehearsal is not None and rehearsal.backup else None
