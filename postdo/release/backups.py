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
    """Remove a backup that is made inside the block, unless ``finish`` was called for it."""
    try:
        yield
    finally:
        backup.sweep(run, session)


def finish(plan: Plan) -> None:
    """Keep the plan's backup, because production is changed from here on. Raises ``Refused``."""
    if path := _backup(plan):
        backup_folder.finish(path)


def forget(plan: Plan) -> None:
    """Remove the plan's backup, because nothing was changed."""
    if path := _backup(plan):
        backup_folder.remove(path)


def tell(run: Run, plan: Plan) -> None:
    """Print where the data from before the change are."""
    if path := _backup(plan):
        # In the kit the folder is mounted from the clone.
        shown = f"backups/{path.name}" if run.config.in_kit else path
        run.console.tell(f"backup from before the release: {shown}")
        run.console.facts.add("backup", path)


def prune(run: Run, session: BaseDatabaseWrapper) -> None:
    """Remove old backups beyond the policy's number.

    After the change, so it cannot make that fail.
    """
    try:
        backup.prune(run, session)
    except (DatabaseError, InterfaceError) as error:
        run.console.warn(
            f"all migrations are applied, but old backups could not be removed: {one_line(error)}"
        )


def _backup(plan: Plan) -> Path | None:
    rehearsal = plan.findings.rehearsal
    return Path(rehearsal.backup) if rehearsal is not None and rehearsal.backup else None
