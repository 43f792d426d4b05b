"""Save the rehearsal of a plan that needs an approval, so that the approved run can reuse it.

A rehearsal can take many minutes. If a release is refused only because nobody approved it yet, its
rehearsal is stored in the journal under the plan's checksum. The next run with that approval takes
it, once, instead of rehearsing again.

It is used only if nothing that it depends on has changed since (``difference``): the code, settings
and versions, the schema, the database and the start of its server, and the rows of each table that
the migrations touch, up to a tenth of them. It expires after ``MOST_SECONDS``. The data loss is
counted again. The comparison with the rehearsal before COMMIT takes place as always
(``rehearsal.verify``); a rehearsal with effects that this comparison cannot see, such as files or
mail, is not saved at all.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError

from postdo.base.config import Rehearse
from postdo.base.context import Run
from postdo.base.database import rows
from postdo.base.formatting import duration
from postdo.base.formatting import table as spoken
from postdo.base.project import Project
from postdo.django_migrations import check_cache
from postdo.drift.subject import Subject
from postdo.plan.decide import Plan
from postdo.rehearsal.data_loss import TRUNCATE, Uncounted, count_anew
from postdo.rehearsal.rehearse import FULL, Rehearsal
from postdo.rehearsal.row_counts import Table, tables
from postdo.rehearsal.trace import Trace, from_values, to_values
from postdo.rehearsal.tracer import LONGEST_STATEMENT, MOST_STATEMENTS
from postdo.schema.catalogue import Catalogue, read

MOST_SECONDS = 3600.0  # who waits for a quiet night has time for another rehearsal then
# Of a table's rows, what may be changed meanwhile: less than what a lock's time depends on.
CHANGED_SHARE = 0.1
CHANGED_ROWS = 100  # small tables are not judged by tenths
ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # in what Python prints of an object

# Which database this is, and since when its server has run: a restored one, and counters that a
# crash has set to nothing, are others. PostgreSQL 14 to 18.
WHICH = """
SELECT oid::bigint::text || ' since ' || extract(epoch FROM pg_postmaster_start_time())::text
FROM pg_database WHERE datname = current_database()
"""
# What differs, by the part of ``code_of``; the rest is about versions.
PARTS = {
    "sources": "project files changed",
    "other files": "project files changed",
    "settings_module": "the settings changed",
    "settings": "the settings changed",
    "all settings": "the settings changed",
    "policies": "the rehearsal settings in .env changed",
}
VERSIONS = "the version of Python, postdo or a package changed"


@dataclass(frozen=True)
class Circumstances:
    """What a rehearsal depends on; if it is the same, so is the result.

    ``code``: see ``code_of``. ``schema``: the catalogue's checksum. ``database``: which one, and
    since when its server runs. ``tables``: with about how many rows.
    """

    code: Mapping[str, str]
    database: str
    schema: str
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Approved:
    """A plan that a person has approved. ``code``: the present result of ``code_of``."""

    checksum: str
    code: Mapping[str, str]


def approved(run: Run, project: Project, checksum: str) -> Approved | None:
    """The approved plan, if there is one whose rehearsal may have been kept."""
    code = code_of(run, project) if checksum else {}
    return Approved(checksum, code) if code else None


def code_of(run: Run, project: Project) -> Mapping[str, str]:
    """All that a rehearsal depends on outside of the database, each part as a short text.

    Empty if it cannot be told, or if no rehearsal would be kept. To be called before the rehearsal,
    which takes time in which files may change.
    """
    policies = run.config.policies
    if policies.rehearse is not Rehearse.FULL:
        return {}
    chosen = [policies.network, policies.hosts, run.config.policy.value]
    try:
        return {
            **{part: str(value) for part, value in check_cache.fingerprint(project).items()},
            "all settings": _settings(),
            "other files": check_cache.other_files(project, run.config.backups),
            "policies": repr(chosen),
        }
    except Exception:  # noqa: BLE001  whatever hides the sources
        return {}


def keep(subject: Subject, plan: Plan, code: Mapping[str, str], schema: Catalogue) -> None:
    """Keep the rehearsal of a plan that lacks only an approval, if ``is_told_by_its_end``."""
    rehearsal = plan.findings.rehearsal
    if plan.verdict == "ask" and rehearsal and code and is_told_by_its_end(plan, rehearsal):
        with suppress(DatabaseError, InterfaceError):  # it is refused, whatever comes now
            then = Circumstances(code, _database(subject), schema.checksum, rehearsal.tables)
            subject.journal.keep_rehearsal(plan.checksum, to_text(then, rehearsal))


def take(subject: Subject, approved: Approved) -> Rehearsal | None:
    """The kept rehearsal of the approved plan, with losses counted anew; removed from the journal.

    ``None`` if there is none, or if anything has changed; then it prints what.
    """
    found = _look_up(subject, approved, take=True)
    if isinstance(found, str):
        anew(subject, found)
        return None
    if found is None:
        return None
    rehearsal, age = found
    subject.run.console.tell(
        f"reusing the rehearsal from {duration(age)} ago: nothing relevant has changed since"
    )
    return rehearsal


def is_usable(subject: Subject, approved: Approved) -> bool:
    """Whether ``take`` would return one now. It stays in the journal."""
    return isinstance(_look_up(subject, approved, take=False), tuple)


def _look_up(
    subject: Subject, approved: Approved, *, take: bool
) -> tuple[Rehearsal, float] | str | None:
    """A rehearsal and its age; or why what was kept is of no use; nothing if nothing was kept."""
    found = subject.journal.rehearsal(approved.checksum, take=take)
    if found is None:
        return None
    text, age = found
    try:
        then, rehearsal = from_text(text)
    except (ValueError, LookupError, TypeError):
        return "the saved rehearsal cannot be read"
    session, trace = subject.session, rehearsal.trace
    schema = read(session).checksum
    now = Circumstances(approved.code, _database(subject), schema, tables(session))
    differs = difference(then, now, age, _touched(trace) if trace else frozenset())
    if differs:
        return differs
    counted = count_anew(session, rehearsal.countable)
    if trace is None or counted is None:
        return "the data loss cannot be counted quickly"
    of_rows = tuple(loss for loss in trace.losses if loss.kind == "rows")
    trace = replace(trace, losses=counted + of_rows)
    return replace(rehearsal, trace=trace, reused=True), age


def anew(subject: Subject, why: str) -> None:
    """Print why the kept rehearsal is not used."""
    subject.run.console.tell(f"rehearsing again: {why}")


def is_told_by_its_end(plan: Plan, rehearsal: Rehearsal) -> bool:
    """Whether the comparison before COMMIT would notice any other outcome the next time."""
    trace = rehearsal.trace
    return (
        rehearsal.method == FULL
        and rehearsal.mode == "transaction"
        and trace is not None
        and all(one.atomic for one in plan.findings.pending)
        and not (rehearsal.beyond or rehearsal.server)
        and not _may_truncate(trace)
        and _is_lost_as_deleted(trace)
    )


def _is_lost_as_deleted(trace: Trace) -> bool:
    """Whether no deleted row was brought back, by a savepoint, which may be kept next time."""
    lost = {loss.table: loss.count for loss in trace.losses if loss.kind == "rows"}
    return all(lost.get(one.table, 0) == one.deleted for one in trace.effects)


def _may_truncate(trace: Trace) -> bool:
    """PostgreSQL counts no rows that a TRUNCATE takes. Not all statements are remembered whole."""
    rewriting = any(step.rewrites for step in trace.steps)
    return rewriting and any(
        len(step.statements) >= MOST_STATEMENTS
        or any(
            TRUNCATE.search(one.sql) or len(one.sql) >= LONGEST_STATEMENT for one in step.statements
        )
        for step in trace.steps
    )


# --- What may have changed ------------------------------------------------------------------------


def difference(then: Circumstances, now: Circumstances, age: float, touched: frozenset[str]) -> str:
    """Why a rehearsal of ``age`` seconds ago is no longer valid; empty if it is.

    ``touched``: the tables that the migrations touch.
    """
    if age > MOST_SECONDS:
        return f"the last rehearsal is {duration(age)} old"
    if now.database != then.database:
        return "the database server was restarted, or this is another database"
    for part in sorted(now.code.keys() | then.code.keys()):
        if now.code.get(part) != then.code.get(part):
            return PARTS.get(part, VERSIONS)
    if now.schema != then.schema:
        return "the schema changed"
    before = {one.name: one for one in then.tables}
    busy = [one for one in now.tables if _is_busy(before.get(one.name), one)]
    return next(
        (f"many rows of {spoken(one.name)} changed" for one in busy if one.name in touched),
        "",
    )


def _is_busy(was: Table | None, now: Table) -> bool:
    """Whether many rows of a table are not as they were."""
    rows_then, changes = (was.rows, now.changes - was.changes) if was else (0, now.changes)
    # Less than before: the counters were set to nothing meanwhile.
    return changes < 0 or changes > max(CHANGED_ROWS, CHANGED_SHARE * rows_then)


def _database(subject: Subject) -> str:
    ((which,),) = rows(subject.session, WHICH)
    return str(which)


def _touched(trace: Trace) -> frozenset[str]:
    tables = [one.table for one in trace.locks]
    tables += [one.table for one in trace.effects]
    return frozenset(tables + [one.table for one in trace.losses])


def _settings() -> str:
    """A digest over all of them; of one alone, somebody could guess a password from it."""
    digest = hashlib.sha256()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of settings that will be no more
        for name in sorted(filter(str.isupper, dir(settings))):
            value = ADDRESS.sub("", repr(_ordered(getattr(settings, name))))
            digest.update(f"{name}={value}\n".encode())
    return digest.hexdigest()


def _ordered(value: object) -> object:
    """The same with its sets in an order, which they have another one of in each process."""
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, dict):
        return {key: _ordered(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_ordered, value))
    return value


# --- As text --------------------------------------------------------------------------------------


def to_text(then: Circumstances, rehearsal: Rehearsal) -> str:
    """The rehearsal and its circumstances as text, for the journal. See ``from_text``."""
    plain: dict[str, Any] = {one.name: getattr(rehearsal, one.name) for one in fields(rehearsal)}
    plain |= {
        "trace": to_values(rehearsal.trace) if rehearsal.trace else None,
        "countable": [asdict(one) for one in rehearsal.countable],
        "tables": [],  # they are among the circumstances
        "files": [],  # with any, nothing is kept
    }
    return json.dumps({"then": asdict(then), "rehearsal": plain})


def from_text(text: str) -> tuple[Circumstances, Rehearsal]:
    """Read what ``to_text`` wrote. Raises ``ValueError``, ``LookupError`` or ``TypeError``."""
    found = json.loads(text)
    then, plain = found["then"], found["rehearsal"]
    then["tables"] = tuple(Table(**one) for one in then["tables"])
    plain |= {
        "trace": from_values(plain["trace"]),
        "countable": tuple(Uncounted(**one) for one in plain["countable"]),
        "tables": then["tables"],
        **{name: tuple(plain[name]) for name in ("outside", "files", "left_out", "server")},
    }
    return Circumstances(**then), Rehearsal(**plain)
