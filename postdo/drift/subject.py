"""What a plan is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.context import Run
from postdo.base.database import rows
from postdo.base.project import Project
from postdo.django_migrations.history import History, Name
from postdo.journal.journal import Journal, Source

# Tables of any schema but PostgreSQL's and ours. PostgreSQL 14 to 18.
HAS_TABLES = """
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('information_schema', 'postdo_journal')
      AND left(n.nspname, 3) <> 'pg_'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                        AND d.deptype = 'e'))
"""


@dataclass(frozen=True)
class Subject:
    """What is examined: the project, its database as ``session`` sees it, and what is recorded.

    ``archived``: the sources in the journal. ``empty``: whether the database has no tables. Both
    are as they were when ``read_subject`` ran.
    """

    run: Run
    project: Project
    session: BaseDatabaseWrapper
    before: History
    journal: Journal
    archived: Mapping[Name, Source]
    empty: bool

    @property
    def known(self) -> frozenset[Name]:
        """The applied migrations whose source exists, on disk or in the archive."""
        return self.before.recorded & (self.before.on_disk | self.archived.keys())


def read_subject(
    run: Run, project: Project, session: BaseDatabaseWrapper, before: History, journal: Journal
) -> Subject:
    """Read, once, what several checks need."""
    empty = not before.recorded and not rows(session, HAS_TABLES)[0][0]
    return Subject(run, project, session, before, journal, journal.sources(), empty)
