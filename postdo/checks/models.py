"""Compare the models with their migrations, and act on a difference as MAKEMIGRATIONS says."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.advisory_lock import exclusive
from postdo.base.config import Mode, Policy
from postdo.base.console import Stopwatch
from postdo.base.context import Run
from postdo.base.database import rows
from postdo.base.errors import Misconfigured, Refused, one_line
from postdo.base.formatting import listed
from postdo.base.project import Project
from postdo.django_migrations import check_cache, history

if TYPE_CHECKING:
    from postdo.django_migrations.model_changes import ModelChanges

# One row per table or view that a name without its schema finds. Read against PostgreSQL 14 to 18.
VISIBLE_TABLES = """
    SELECT relname FROM pg_catalog.pg_class
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_catalog.pg_table_is_visible(oid)
"""
# How Django describes that the type of a primary key changes (4.2 to 6.1).
KEY_CHANGES = re.compile(r"Alter field id on ")


@dataclass(frozen=True)
class Checked:
    """How the check ended. ``by``: ``stamp``, ``models`` (all were compared) or ``off``.

    ``written``: paths of the migration files that were written.
    """

    by: str
    written: tuple[str, ...] = ()


def check(run: Run) -> Checked:
    """Compare the models with their migrations, whatever the policy says. Writes nothing.

    Raises ``Refused`` with the list of what is missing.
    """
    return compare_models(run, None)


def check_and_stamp(run: Run, project: Project, path: Path) -> Checked:
    """Run ``check`` and remember its success in the file ``path``. Needs no database.

    Raises ``Refused`` as ``check`` does, and leaves no stamp then; ``Misconfigured`` if the file
    cannot be written.
    """
    try:
        path.unlink(missing_ok=True)
        before = check_cache.fingerprint(
            project
        )  # of what is checked, should a file change meanwhile
        checked = check(run)
        check_cache.write(path, before)
    except OSError as error:
        raise Misconfigured(
            f"the result of the check cannot be written to {path}: {error.strerror}",
            "name a file in a writable folder: --stamp FILE",
        ) from error
    return checked


def follow_policy(run: Run, project: Project, session: BaseDatabaseWrapper) -> Checked:
    """Do what MAKEMIGRATIONS says about model changes without a migration.

    That is to write the migrations, to refuse, or nothing. Files are written under the lock on
    ``session``, since two modes of development can share a source. Raises ``Refused`` if a person
    has to decide, ``Misconfigured`` if files cannot be written.
    """
    if run.config.policy is Policy.OFF:
        run.console.say("models are not compared with their migrations (MAKEMIGRATIONS=off)")
        return Checked(by="off")
    current = _fingerprint(project)
    if current is not None and check_cache.differences(run.config.stamp, current) == ():
        run.console.say("models match their migrations (checked before)")
        return Checked(by="stamp")
    if run.config.policy is Policy.CHECK:
        try:
            return compare_models(run, session)
        except Refused as error:
            raise _real_reason(run, project, session, error) from error
    with exclusive(run, session):
        written = _write_missing(run, project, session)
    if run.config.refresh_stamp and not written:
        _keep_stamp(run, current)
    return Checked(by="models", written=written)


def _real_reason(
    run: Run, project: Project, session: BaseDatabaseWrapper, error: Refused
) -> Refused:
    before = history.read(session, project)
    if not before.unknown_in(project):
        return error
    from postdo.checks.history import find_problems, real_reason  # noqa: PLC0415
    from postdo.journal.journal import Journal  # noqa: PLC0415  takes a while

    archived = Journal(run, session).sources()
    reason = real_reason(find_problems(run, project, session, before, archived), [error.what])
    if reason is None:
        return error
    return Refused(reason.what, reason.next_step, details=reason.details)


def _fingerprint(project: Project) -> check_cache.Fingerprint | None:
    try:
        return check_cache.fingerprint(project)
    except Exception:  # noqa: BLE001  whatever hides the sources: the full check tells it better
        return None


def _keep_stamp(run: Run, current: check_cache.Fingerprint | None) -> None:
    if current is None:
        return
    try:
        check_cache.write(run.config.stamp, current)
    except OSError as error:
        run.console.warn(
            f"the result of the check cannot be written to {run.config.stamp}: {error.strerror}"
        )


def _changes(run: Run) -> ModelChanges:
    # Here and not above: importing it costs as much as all the rest of a start.
    from django.db.migrations.exceptions import NodeNotFoundError  # noqa: PLC0415

    from postdo.base.system_checks import require_checks  # noqa: PLC0415
    from postdo.django_migrations.model_changes import find_changes  # noqa: PLC0415

    require_checks(run, database=False)
    try:
        found = find_changes(run.config.manage)
    except Refused as error:
        if run.config.mode is Mode.PRODUCTION and isinstance(error.__cause__, NodeNotFoundError):
            plan = run.config.postdo("plan")
            error.next_step = f"run `{plan}` to see which file is missing and how to restore it"
        raise
    if found.installed:
        run.console.warn(_unknown_to_packages(run, found.installed))
    return found


def compare_models(run: Run, session: BaseDatabaseWrapper | None) -> Checked:
    """Run ``check``, but ignore an app without migrations whose tables ``session`` finds."""
    watch = Stopwatch()
    found = _changes(run)
    _refuse(run, found, _without_tables(found, session))
    run.console.say(f"models match their migrations ({watch})")
    return Checked(by="models")


def _without_tables(
    found: ModelChanges, session: BaseDatabaseWrapper | None
) -> dict[str, tuple[str, ...]]:
    """The tables of apps without migrations that nobody has made; without a session, all.

    An app may live without migrations on tables that were there before it, and is left alone.
    """
    if session is None:
        return dict(found.unmigrated)
    there = {name for (name,) in rows(session, VISIBLE_TABLES)}
    missing = {
        label: tuple(table for table in tables if table not in there)
        for label, tables in found.unmigrated.items()
    }
    return {label: tables for label, tables in missing.items() if tables}


def _refuse(run: Run, found: ModelChanges, tableless: Mapping[str, tuple[str, ...]]) -> None:
    if tableless:
        raise Refused(
            f"models have neither migrations nor tables, in {', '.join(tableless)}",
            f"run `{run.config.manage('makemigrations ' + ' '.join(tableless))}` in development, "
            "commit the files and release again",
            details=tuple(f"{label}: {', '.join(names)}" for label, names in tableless.items()),
        )
    if found.own:
        raise Refused(
            f"models have changes that are not in a migration, in {', '.join(found.own)}",
            f"run `{run.config.manage('makemigrations')}` in development, commit the files and "
            "release again",
            details=tuple(
                f"{label}: {line}" for label, lines in found.own.items() for line in lines
            ),
        )


def _write_missing(run: Run, project: Project, session: BaseDatabaseWrapper) -> tuple[str, ...]:
    watch = Stopwatch()
    found = _changes(run)
    tableless = tuple(_without_tables(found, session))
    if not found.own and not tableless:
        run.console.say(f"models match their migrations ({watch})")
        return ()
    if found.questions:
        raise Refused(
            "makemigrations has a question that only a person can answer",
            f"run `{run.config.manage('makemigrations')}` in a terminal and answer it",
            details=found.questions,
        )
    from postdo.checks import generated_migrations  # noqa: PLC0415  imports Django's migrations

    generated_migrations.require_nothing_removed(run, found)
    with run.stop.guarded():
        return _make(run, found, tableless)


def _make(run: Run, found: ModelChanges, tableless: tuple[str, ...]) -> tuple[str, ...]:
    from django.core.management import call_command  # noqa: PLC0415
    from django.core.management.base import CommandError  # noqa: PLC0415

    # Named one by one only where an installed app must be left out, or where Django would not look
    # unasked: names also make it write a first migration for an app that never had one.
    labels = (*found.own, *tableless) if found.installed or tableless else ()
    made = _Lines(run)
    try:
        call_command(
            "makemigrations", *labels, interactive=False, no_color=True, stdout=made, stderr=made
        )
    except OSError as error:
        raise Misconfigured(
            f"migrations are missing for {', '.join((*found.own, *tableless))}, but "
            f"{error.filename} cannot be written: {error.strerror}",
            "make the project's folder writable for this user, or set MAKEMIGRATIONS=check",
        ) from error
    except (CommandError, SystemExit) as error:
        raise Refused(
            f"makemigrations failed: {one_line(error)}",
            f"run `{run.config.manage('makemigrations')}` in a terminal to see why",
        ) from error
    importlib.invalidate_caches()  # the folder may have been listed in the same tick of its clock
    return made.files


class _Lines:
    """Takes what Django's command prints, and says it in our way."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._files: list[str] = []

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(self._files)

    def write(self, text: str) -> None:
        for line in filter(None, map(str.strip, text.splitlines())):
            if line.endswith(".py"):
                self._files.append(line)
            self._run.console.say(f"makemigrations: {line}")

    def flush(self) -> None:
        """Each line has been flushed already."""


def _unknown_to_packages(run: Run, changes: Mapping[str, tuple[str, ...]]) -> str:
    """The warning about installed apps whose migrations are behind their models."""
    told = listed([f"{label}: {listed(lines)}" for label, lines in changes.items()])
    keys = all(KEY_CHANGES.match(one) for lines in changes.values() for one in lines)
    why = (
        "the cause is DEFAULT_AUTO_FIELD: set default_auto_field in an AppConfig for the app"
        if keys
        else "postdo writes no migrations for packages; to see all changes: "
        f"{run.config.manage('makemigrations --dry-run ' + next(iter(changes)))}"
    )
    return f"models of packages have changes that are not in their migrations ({told}); {why}"
