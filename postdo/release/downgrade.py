"""Decide whether an older version may start on a database that is ahead of it (HAZARDS 11).

A newer version has migrated this database. The older one may start if its models can work with the
schema as it is now.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.context import Run
from postdo.base.errors import Refused
from postdo.base.project import Project
from postdo.checks.history import ahead
from postdo.compatibility.compare import Clash, clashes, places
from postdo.django_migrations.history import History, dotted
from postdo.journal.model_usage import ModelUse
from postdo.release.build_plan import present_use
from postdo.schema.catalogue import Catalogue, Entry, read

SHOWN = 5  # migrations named in one line


def check_ahead(run: Run, project: Project, session: BaseDatabaseWrapper, settled: History) -> None:
    """Let older code start on a newer schema if its models can work with it.

    Raises ``Refused`` with what they cannot work with.
    """
    unknown = ahead(run, project, session, settled)
    if not unknown:
        return
    newer = dotted(unknown, SHOWN)
    found = standing_clashes(present_use(run), read(session))
    if found:
        raise Refused(
            f"the database is ahead of this code, which cannot work with its schema: {newer}",
            "deploy the release that contains these migrations, or restore the backup from before "
            'them: "Look after the data" in README.md',
            details=tuple(clash.what for clash in found),
        )
    run.console.warn(
        f"the database is ahead of this code ({newer}), which can work with its schema"
    )


def standing_clashes(use: ModelUse, now: Catalogue) -> tuple[Clash, ...]:
    """What the models cannot work with, in a schema whose earlier form is unknown."""
    return clashes(use, _as_used(use, now), now)


def _as_used(use: ModelUse, now: Catalogue) -> Catalogue:
    """The schema that the models would want: what is there, in their shape.

    Constraints are those of now: whether the models knew them cannot be said.
    """
    wanted = {
        (place, column.name): column
        for table in use.tables
        for place in places(now, table.table) or (f"public.{table.table}",)
        for column in table.columns
    }
    tables = {table for table, _ in wanted}
    kept = [entry for entry in now.entries if entry.kind != "column" or entry.table not in tables]
    there = {(entry.table, entry.name): entry for entry in now.entries if entry.kind == "column"}
    for table in tables - {entry.table for entry in kept if entry.kind == "table"}:
        kept.append(Entry("table", table, table, {}))
    for (table, name), column in wanted.items():
        facts = {"default": "", "identity": "", "generated": ""}
        if (table, name) in there:
            facts |= there[table, name].facts
        facts |= {"type": column.type, "nullable": "yes" if column.null else "no"}
        kept.append(Entry("column", table, name, facts))
    return Catalogue(now.major, tuple(kept))
