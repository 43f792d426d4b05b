"""What was found before a change, as values: ``decide.decide`` turns them into a verdict. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from postdo.compatibility.compare import Clash
from postdo.rehearsal.rehearse import Rehearsal
from postdo.schema.diff import Difference


@dataclass(frozen=True)
class Pending:
    """A migration that is to be applied.

    - ``package``: the distribution that it came with (``django-oscar 4.1``), empty for the
      project's own.
    - ``operations``: what each does, in words. ``sql``: as Django would send it, before the
      rehearsal.
    - ``checksum``: SHA-256 of its file.
    """

    name: str
    package: str
    atomic: bool
    operations: tuple[str, ...]
    sql: tuple[str, ...]
    checksum: str


@dataclass(frozen=True)
class Problem:
    """Something that blocks the release (``blocking``) or that should be known.

    - ``hazard``: its row in docs/hazards.md, 0 if none. ``what``, ``next_step``: one line each.
    - ``explains_models``: whether it can be the reason for model changes without a migration.
    """

    hazard: int
    what: str
    next_step: str
    blocking: bool
    details: tuple[str, ...] = ()
    explains_models: bool = False


@dataclass(frozen=True)
class Findings:
    """Everything that was found before anything is touched.

    - ``release``: version of the code at work. ``serving``: release of the recorded models, empty
      if unknown.
    - ``problems``: of history, models and environment.
    - ``drift``: ``None`` if unknown; ``drift_unknown`` says why. ``explained``: sentences that
      explain it.
    - ``rehearsal``: ``None`` if there was none; ``rehearsal_missing`` says why.
    - ``clashes``: what the serving release cannot work with, ``None`` if unknown.
    - ``empty``: nothing was ever applied to this database.
    - ``first_look``: the source of no applied migration was ever archived, so that today's files
      stand in for them.
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
