"""What was found before a change, as values: ``decide.decide`` turns them into a verdict. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from postdo.compatibility.compare import Clash
from postdo.rehearsal.rehearse import Rehearsal
from postdo.schema.diff import Difference


@dataclass(frozen=True)
class Pending:
    """A migration that is to be applied.

    ``package``: the distribution that it came with (``django-oscar 4.1``), empty for the project's
    own. ``operations``: what each does, in words. ``sql``: as Django would send it, before the
    rehearsal. ``checksum``: sha256 of its file.
    """

    name: str
    package: str
    atomic: bool
    operations: tuple[str, ...]
    sql: tuple[str, ...]
    checksum: str


@dataclass(frozen=True)
class Problem:
    """Something that stands in the way (``blocking``) or that should be known.

    ``hazard``: the row of HAZARDS, 0 if none. ``what``, ``next_step``: one line each.
    ``explains_models``: whether it can be why models have changes that no migration makes.
    """

    hazard: int
    what: str
    next_step: str
    blocking: bool
    details: tuple[str, ...] = ()
    explains_models: bool = False


@dataclass(frozen=True)
class Findings:
    """All that is known before anything is touched.

    ``release``: of the code that is at work. ``serving``: the release of the recorded models, empty
    if unknown. ``problems``: of history, models, environment. ``drift``: ``None`` if it could not
    be looked at (``drift_unknown`` says why). ``explained``: sentences that explain the drift.
    ``rehearsal``: ``None`` if there was none (``rehearsal_missing`` says why). ``clashes``:
    ``None`` if not known. ``empty``: a database in which nothing was ever applied. ``first_look``:
    no source of an applied migration was ever kept, so that the files of today stand in for them.
    """

    database: str
    server: str
    release: str
    serving: str
    empty: bool
    pending: tuple[Pending, ...]
    problems: tuple[Problem, ...]
    drift: tuple[Difference, ...] | None
    drift_unknown: str
    explained: tuple[str, ...]
    rehearsal: Rehearsal | None
    rehearsal_missing: str
    clashes: tuple[Clash, ...] | None
    first_look: bool = False
