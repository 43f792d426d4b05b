"""squawk, a linter for migrations' SQL, if it is installed: advice, never a verdict.

All pending migrations are one text to it, as they are one transaction to us: so it knows which
tables are new, and says nothing of those.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postdo.base.context import Run
from postdo.plan.findings import Advice

PROGRAM = "squawk"  # of the package squawk-cli
TIMEOUT_SECONDS = 20.0  # it takes milliseconds
ATTEMPTS = 3  # each one without what could not be read; the rest may show more of it
CUT = " ..."  # the end of a statement that the rehearsal did not keep whole

# What is done for every migration here (timeouts, one transaction, CONCURRENTLY taken out), and
# whatever Django's own choice of types is: rules named "prefer-".
SETTLED = frozenset(
    {
        "require-timeout-settings",
        "require-lock-timeout",
        "require-statement-timeout",
        "ban-concurrent-index-creation-in-transaction",
        "transaction-nesting",
    }
)
MATTER_OF_TASTE = "prefer-"
UNREADABLE = "syntax-error"
# What a migration that says CONCURRENTLY has done already: the rehearsal sends it without.
CONCURRENT = frozenset({"require-concurrent-index-creation", "require-concurrent-index-deletion"})

# Only these have rules; the rows that a migration writes may come in thousands of statements.
_CHANGES = re.compile(
    r"(ALTER|CREATE|DROP|TRUNCATE|REINDEX|CLUSTER|VACUUM|REFRESH)\b", re.IGNORECASE
)
_COMMENTS = re.compile(r"\A(\s*--[^\n]*(\n|\Z)|\s+)+")
# Where Django puts a value: %s, %(name)s; and %% for a percent sign.
_PLACE = re.compile(r"%(?:\(\w+\))?s")


@dataclass(frozen=True)
class _Piece:
    """A statement, and which migration sends it."""

    migration: str
    text: str


class _Silent(Exception):  # noqa: N818  an outcome
    """squawk did not answer; the message says why."""


def advice(
    run: Run,
    sql: Mapping[str, tuple[str, ...]],
    major: int | None = None,
    concurrent: Collection[str] = (),
) -> tuple[Advice, ...]:
    """What squawk says of the statements of each migration (``app.name`` → SQL, in their order).

    ``major``: of the server, if known. ``concurrent``: the migrations that say CONCURRENTLY.
    Nothing where squawk is not installed; a line of warning where it fails.
    """
    program = _program()
    pieces = [
        _Piece(migration, text)
        for migration, statements in sql.items()
        for text in map(_readable, statements)
        if text
    ]
    if program is None or not pieces:
        return ()
    try:
        found = _advice(program, pieces, major)
    except _Silent as error:
        run.console.warn(f"no advice on the SQL: {error}")
        return ()
    return tuple(
        one for one in found if not (one.rule in CONCURRENT and one.migration in concurrent)
    )


def _program() -> str | None:
    """Beside the Python that runs, where pip puts it; else on the PATH."""
    beside = Path(sys.executable).parent / PROGRAM
    return str(beside) if beside.is_file() else shutil.which(PROGRAM)


def _readable(statement: str) -> str:
    """The statement as PostgreSQL would see it; empty if there is nothing to say of it."""
    text = _COMMENTS.sub("", statement).rstrip().rstrip(";")
    if text.endswith(CUT) or not _CHANGES.match(text):
        return ""
    return _PLACE.sub("NULL", text).replace("%%", "%")


def _advice(program: str, pieces: list[_Piece], major: int | None) -> tuple[Advice, ...]:
    for _ in range(ATTEMPTS):
        said = _ask(program, "".join(f"{piece.text};\n" for piece in pieces), major)
        owners = [piece for piece in pieces for _ in range(piece.text.count("\n") + 1)]
        said = [one for one in said if one["line"] < len(owners)]
        strange = [owners[one["line"]] for one in said if one["rule_name"] == UNREADABLE]
        if not strange:
            break
        pieces = [piece for piece in pieces if piece not in strange]
    return tuple(
        dict.fromkeys(
            Advice(owners[one["line"]].migration, rule, one["message"].partition("\n")[0])
            for one in said
            for rule in (one["rule_name"],)
            if not (rule in SETTLED or rule == UNREADABLE or rule.startswith(MATTER_OF_TASTE))
        )
    )


def _ask(program: str, text: str, major: int | None) -> list[dict[str, Any]]:
    """What squawk reports, one mapping for each finding; lines count from 0."""
    command = [program, "--reporter", "json", "--assume-in-transaction"]
    if major is not None:
        command += ["--pg-version", f"{major}.0"]
    try:
        done = subprocess.run(
            command,
            input=text.encode(),
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        said = json.loads(done.stdout)
        if all({"line", "rule_name", "message"} <= one.keys() for one in said):
            return list(said)
    except subprocess.TimeoutExpired:
        raise _Silent(f"squawk took longer than {TIMEOUT_SECONDS:.0f} s") from None
    except OSError as error:
        raise _Silent(f"squawk cannot be started: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError):
        lines = done.stderr.decode(errors="replace").split("\n")
        raise _Silent(f"squawk failed: {lines[0] or f'exit code {done.returncode}'}") from None
    raise _Silent("squawk answers in a form that is not known")
