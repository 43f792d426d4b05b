"""The ``prepare`` command: all that happens between the start of a container and the server.

It waits for the database, checks the models, migrates and creates the superuser, in one process
with one import of Django, of which it loads only what is needed: a start with nothing pending is
quick.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from django.db import DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.advisory_lock import exclusive
from postdo.base.console import Stopwatch
from postdo.base.context import Run
from postdo.base.database import answers, closing
from postdo.base.errors import NotUndone, PostdoError, Refused, one_line
from postdo.base.project import Project, load, set_up
from postdo.base.wait import wait
from postdo.checks.models import Checked, check, check_and_stamp, follow_policy
from postdo.commands.migrate import Migrated, Way, migrate

if TYPE_CHECKING:
    from postdo.commands.superuser import Ensured


@dataclass(frozen=True)
class Waited:
    """The result of the ``wait`` command: after how many ``seconds`` the database answered."""

    seconds: float


@dataclass(frozen=True)
class Prepared:
    """The result of each step. ``superuser`` is ``None`` if the environment asks for none."""

    check: Checked
    migrate: Migrated
    superuser: Ensured | None
    seconds: float


def prepare(run: Run) -> Prepared:
    """Wait for the database, compare models and migrations, migrate, and create the superuser.

    Raises the errors of these steps; each says what it leaves.
    """
    watch = Stopwatch()
    project = load(run.config.settings_module)
    _require_commands(run, project)
    with database(run) as session:
        checked = follow_policy(run, project, session)
        ensured = _superuser_preflight(run)
        migrated = migrate(run, project, session, Way(run.config.approval, run.config.concurrently))
        if ensured is None:
            with _said_of(migrated):
                ensured = _superuser(run, session)
    run.console.say(f"prepared ({watch})")
    return Prepared(checked, migrated, ensured, watch.seconds)


def wait_only(run: Run) -> Waited:
    """The ``wait`` command."""
    watch = Stopwatch()
    load(run.config.settings_module)
    with database(run):
        return Waited(watch.seconds)


def check_only(run: Run, stamp: Path | None) -> Checked:
    """The ``check`` command; needs no database. ``stamp``: the file that remembers its success."""
    project = load(run.config.settings_module)
    return check(run) if stamp is None else check_and_stamp(run, project, stamp)


def migrate_only(run: Run, way: Way) -> Migrated:
    """The ``migrate`` command."""
    project = load(run.config.settings_module)
    with database(run) as session:
        return migrate(run, project, session, way)


def superuser_only(run: Run) -> Ensured | None:
    """The ``superuser`` command."""
    load(run.config.settings_module)
    if run.config.superuser is None:
        run.console.say("no superuser is created: DJANGO_SUPERUSER_EMAIL or _USERNAME is not set")
        return None
    with database(run) as session:
        return _superuser_preflight(run) or _superuser(run, session)


@contextmanager
def database(run: Run) -> Iterator[BaseDatabaseWrapper]:
    """Yield a session of our own; at the end it is closed, and so are Django's."""
    with closing(wait(run)) as session:
        try:
            yield session
        finally:
            connections.close_all()


def _require_commands(run: Run, project: Project) -> None:
    """Raise ``Refused`` if .env schedules a command that this release does not have."""
    for name, command in run.config.commands:
        if not project.has_command(command):
            raise Refused(
                f"the project has no manage.py command {command}, which {name} in .env schedules",
                f"correct the name in that line, or remove the line {name}",
            )


def _superuser_preflight(run: Run) -> Ensured | None:
    if run.config.superuser is None:
        return None
    set_up()
    from postdo.commands.superuser import preflight  # noqa: PLC0415  imports the models

    return preflight(run)


def _superuser(run: Run, session: BaseDatabaseWrapper) -> Ensured | None:
    if run.config.superuser is None:
        return None
    from postdo.commands.superuser import ensure  # noqa: PLC0415  imports the models

    # A swap ends all sessions, and a server can be restarted.
    connections.close_all()
    if answers(session):
        with exclusive(run, session):
            return ensure(run)
    with database(run) as fresh, exclusive(run, fresh):
        return ensure(run)


@contextmanager
def _said_of(migrated: Migrated) -> Iterator[None]:
    """What fails inside says of the migrations that they are applied, if any are."""
    try:
        yield
    except (PostdoError, DatabaseError, InterfaceError) as error:
        if not migrated.applied:
            raise
        known = error if isinstance(error, PostdoError) else None
        raise NotUndone(
            known.what if known else f"the superuser could not be created: {one_line(error)}",
            known.next_step if known else "fix the cause and try again",
            details=(
                *(known.details if known else ()),
                f"the migrations stay applied: {', '.join(migrated.applied)}",
            ),
        ) from error
