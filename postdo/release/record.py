"""Record a release in the journal: sources, the expected schema, and what the models use."""

from __future__ import annotations

import getpass

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.context import Run
from postdo.base.database import rows
from postdo.django_migrations.history import RECORDED, Name
from postdo.drift.expected_schema import key
from postdo.drift.subject import Subject
from postdo.journal.journal import Journal
from postdo.journal.sources import read_sources
from postdo.release.build_plan import present_use
from postdo.schema.catalogue import Catalogue, read
from postdo.schema.expected_change import advance
from postdo.schema.normalize import worded


def remember(
    subject: Subject,
    journal: Journal,
    worker: BaseDatabaseWrapper,
    was: Catalogue,
    *,
    as_it_is: bool,
) -> frozenset[Name]:
    """Record the files, the expected schema and what the models use.

    Returns the migrations that are recorded now and were not before. ``journal`` writes through
    ``worker``, so it is kept if the change is. ``was``: the schema before. ``as_it_is``: whether
    that was, by definition, as its migrations made it.
    """
    recorded = frozenset((app, name) for app, name in rows(worker, RECORDED))
    archived = keep_sources(subject, journal, recorded)
    known = subject.before.on_disk | archived
    before = subject.before.recorded & known
    expected = was if as_it_is else journal.expected(key(before, was.major))
    if expected is not None:
        after = advance(worded(worker, expected, was), was, read(worker))
        journal.keep_expected(key(recorded & known, after.major), after, recorded & known)
    journal.keep_model_use(present_use(subject.run))
    return recorded - subject.before.recorded


def keep_sources(subject: Subject, journal: Journal, recorded: frozenset[Name]) -> frozenset[Name]:
    """Archive the files of applied migrations. Returns the names that were archived before.

    Those stay as they are: the file of an earlier migration may have been edited since.
    """
    archived = frozenset(journal.sources())
    fresh = recorded - subject.before.recorded
    earlier = (recorded & subject.before.on_disk) - archived
    journal.keep_sources(read_sources(subject.project, fresh | earlier))
    return archived


def who(run: Run) -> str:
    """User and host that make the change, for the journal."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    return f"{user}@{run.config.host}"
