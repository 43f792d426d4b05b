"""What a run of migrations did, seen from its own session: locks, rewrites, rows, time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from postdo.schema.catalogue import Catalogue, from_json


@dataclass(frozen=True)
class Statement:
    """A statement of a step. ``sql``: as sent, without its values, and shortened if long.

    ``seconds``: how long the server took for all ``times`` that the step sent it.
    """

    sql: str
    seconds: float
    times: int = 1


@dataclass(frozen=True)
class Lock:
    """The strongest lock on a table that existed before the run.

    ``mode``: as in LOCK TABLE (``ACCESS EXCLUSIVE``). ``seconds``: from the statement that took it
    to the end of the transaction, without what followed the last migration's post_migrate.
    """

    table: str
    mode: str
    seconds: float


@dataclass(frozen=True)
class Effect:
    """How many rows of a table were inserted, updated and deleted."""

    table: str
    inserted: int
    updated: int
    deleted: int


@dataclass(frozen=True)
class Loss:
    """Data that would be lost.

    - ``kind``: ``table`` or ``column`` (dropped with ``count`` rows, or values that are not NULL),
      ``rows`` (``count`` rows deleted or truncated), ``rounded`` (a type that holds less).
    - ``table``: its name before the run. ``name``: of the column, else empty.

    If the copy had no rows (method ``schema``), ``count`` was counted or estimated in production.
    """

    kind: str
    table: str
    name: str
    count: int


@dataclass(frozen=True)
class Rename:
    """A table, or a column of one, that is called ``to`` after the run.

    ``table``: its name before the run, with its schema. ``column``: empty for a table.
    """

    table: str
    column: str
    to: str


@dataclass(frozen=True)
class Step:
    """One migration, or ``post_migrate`` at the end.

    ``locks``: those that it took first, or made stronger. ``rewrites``: tables whose file was
    written anew. All tables are named with their schema.
    """

    migration: str
    seconds: float
    statements: tuple[Statement, ...]
    locks: tuple[Lock, ...]
    rewrites: tuple[str, ...]
    effects: tuple[Effect, ...]


@dataclass(frozen=True)
class Trace:
    """What a whole run did.

    - ``locks``: the strongest per table over all steps. ``effects``: sums over all steps.
    - ``seconds``: from the first migration to the last handler; ``watching_seconds`` of them went
      into the observation itself.
    - ``peak_memory_mb``: of the process. ``lock_count``: entries in the server's lock table at the
      end. ``wal_bytes``: written by the run.
    - ``altered``: tables from before whose definition was changed or dropped.
    - ``renames``: recognized by ids, so that nobody has to guess.
    """

    steps: tuple[Step, ...]
    locks: tuple[Lock, ...]
    effects: tuple[Effect, ...]
    losses: tuple[Loss, ...]
    altered: tuple[str, ...]
    seconds: float
    peak_memory_mb: int
    lock_count: int
    wal_bytes: int
    before: Catalogue
    after: Catalogue
    watching_seconds: float = 0.0
    renames: tuple[Rename, ...] = ()


def to_values(trace: Trace) -> dict[str, Any]:
    """The trace as JSON values, for another process. See ``from_values``."""
    plain = {
        field.name: getattr(trace, field.name)
        for field in fields(trace)
        if field.name not in ("before", "after")
    }
    lists = ("steps", "locks", "effects", "losses", "renames")
    return {
        **plain,
        **{name: [asdict(part) for part in plain[name]] for name in lists},
        "before": trace.before.to_json(),
        "after": trace.after.to_json(),
    }


def from_values(values: Mapping[str, Any]) -> Trace:
    """Read what ``to_values`` made. Raises ``ValueError`` or ``KeyError``."""
    read: dict[str, Any] = {
        **values,
        "steps": tuple(_step(step) for step in values["steps"]),
        "locks": tuple(Lock(**lock) for lock in values["locks"]),
        "effects": tuple(Effect(**effect) for effect in values["effects"]),
        "losses": tuple(Loss(**loss) for loss in values["losses"]),
        "renames": tuple(Rename(**one) for one in values.get("renames", ())),
        "altered": tuple(values["altered"]),
        "before": from_json(values["before"]),
        "after": from_json(values["after"]),
    }
    return Trace(**read)


def _step(values: Mapping[str, Any]) -> Step:
    read: dict[str, Any] = {
        **values,
        "statements": tuple(Statement(**statement) for statement in values["statements"]),
        "locks": tuple(Lock(**lock) for lock in values["locks"]),
        "rewrites": tuple(values["rewrites"]),
        "effects": tuple(Effect(**effect) for effect in values["effects"]),
    }
    return Step(**read)


@dataclass(frozen=True)
class Failure:
    """Why a run on the copy failed.

    - ``migration``: ``app.name``, ``post_migrate``, or empty. ``what``: one line of the error.
      ``place``: ``file:line`` in the project.
    - ``sqlstate``: empty if it was no database error. ``statement``: the SQL that failed, if any.
    - ``rows``: up to five examples of rows that cause it, as text.
    - ``single_only``: whether the one transaction may be the only reason.
    - ``output``: the last lines of a process that died.
    - ``in_python``: whether it was raised in code of the project (RunPython, a handler).
      ``generated``: in a generated field.
    - ``limit``: the rehearsal's own limit that it met (``limits.py``), empty if none.
    """

    migration: str
    what: str
    place: str
    sqlstate: str
    statement: str
    rows: tuple[str, ...]
    single_only: bool
    output: tuple[str, ...] = ()
    in_python: bool = True
    generated: bool = False
    limit: str = ""
