"""Archive the files of migrations, and compare the archive with the disk: the ``sources`` command.

If a file is edited or deleted after it was applied, a new database differs from this one (HAZARDS 6
and 7), and nobody can see it. The journal stores each file as it was applied, and ``--show`` prints
it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.context import Run
from postdo.base.errors import Refused
from postdo.base.project import App, Project
from postdo.django_migrations import history
from postdo.django_migrations.history import Name, dotted, migration_files, migrations_package
from postdo.journal import sources_output
from postdo.journal.journal import Journal, Source
from postdo.journal.source_text import do_the_same, replaces


@dataclass(frozen=True)
class SourceState:
    """A migration (``app.name``) that is in the archive or recorded in the database.

    - ``state``: ok, edited, missing, replaced (by a squash on disk), unarchived, unapplied
      (archived, but no longer recorded) or uninstalled (its app is gone).
    - ``path``: of the file, as archived or on disk. ``checksum``: of the archived file, else empty.
    """

    name: str
    state: str
    path: str
    checksum: str


@dataclass(frozen=True)
class SourcesReport:
    """The result of the ``sources`` command. ``sources``: sorted by name."""

    sources: tuple[SourceState, ...]


def read_sources(project: Project, names: Collection[Name]) -> tuple[Source, ...]:
    """Read the files of these migrations, as far as they exist as source. None is imported.

    ``path`` is relative to the project for files inside it.
    """
    labels = {label for label, _ in names}
    found: list[Source] = []
    for app in project.apps:
        if app.label in labels:
            wanted = {name for label, name in names if label == app.label}
            found.extend(_read(project, app, wanted))
    return tuple(sorted(found, key=lambda one: one.name))


def states(
    project: Project, before: history.History, archived: Mapping[Name, Source]
) -> dict[Name, str]:
    """The state of each migration that is archived or recorded, see ``SourceState``.

    Where only Django's loader knows what is on disk (``before.unsure``), the files are searched.
    """
    labels = {app.label for app in project.apps}
    known = archived.keys() | (before.recorded & before.on_disk)
    on_disk = {one.name: one for one in read_sources(project, known)}
    there = before.on_disk | on_disk.keys()
    gone = {name for name in archived if name not in there and name[0] in labels}
    replaced = replaced_by(project, there, gone, archived)

    def state(name: Name) -> str:
        if name[0] not in labels:
            return "uninstalled"
        if name not in before.recorded:
            return "unapplied"
        if name not in archived:
            return "unarchived"
        if name not in there:
            return "replaced" if name in replaced else "missing"
        # Compiled files without their source cannot be compared.
        same = name not in on_disk or do_the_same(on_disk[name], archived[name])
        return "ok" if same else "edited"

    return {name: state(name) for name in sorted(known)}


def replaced_by(
    project: Project,
    on_disk: Collection[Name],
    gone: Collection[Name],
    archived: Mapping[Name, Source],
) -> frozenset[Name]:
    """The migrations that squashes on disk replace, in the apps of ``gone``.

    Also those of squashes that were squashed again. It is read from the text of the files, so that
    none has to be imported.
    """
    labels = {label for label, _ in gone}
    texts = {one.name: one.text for one in read_sources(project, _of(on_disk, labels))}
    replaced: set[Name] = set()
    waiting = [name for text in texts.values() for name in replaces(text)]
    # The list is taken out of a squash that is applied everywhere; what was archived has it.
    kept = texts.keys() & archived.keys()
    waiting += [name for squash in kept for name in replaces(archived[squash].text)]
    while waiting:
        name = waiting.pop()
        if name not in replaced:
            replaced.add(name)
            if name in archived and name not in texts:
                waiting.extend(replaces(archived[name].text))
    return frozenset(replaced)


def sources(run: Run, project: Project, session: BaseDatabaseWrapper) -> SourcesReport:
    """The ``sources`` command: compare the archive with the files."""
    archived = Journal(run, session).sources()
    found = states(project, history.read(session, project), archived)
    sources_output.say(run, found)
    return SourcesReport(tuple(_state(name, state, archived) for name, state in found.items()))


def text_of(run: Run, session: BaseDatabaseWrapper, name: str) -> str:
    """The text of ``app.name`` when it was applied. Raises ``Refused`` if it is not archived."""
    for source in Journal(run, session).sources().values():
        if dotted((source.name,)) == name:
            return source.text
    raise Refused(
        f"{name} is not in the archive",
        f"list the archived migrations: {run.config.postdo('sources')}; or take the file from "
        "version control",
    )


def _read(project: Project, app: App, wanted: Collection[str]) -> list[Source]:
    try:
        package = migrations_package(app)
    except Exception:  # noqa: BLE001  the project's own code; Django's loader tells it better
        return []
    if package is None:
        return []
    found: list[Source] = []
    for name, file in migration_files(package).items():
        if name in wanted:
            with suppress(OSError):  # compiled without its source, or inside an archive
                found.append(_source(project, (app.label, name), file))
    return found


def _source(project: Project, name: Name, file: Path) -> Source:
    contents = file.read_bytes()
    path = file.relative_to(project.root) if file.is_relative_to(project.root) else file
    return Source(
        name=name,
        path=str(path),
        checksum=hashlib.sha256(contents).hexdigest(),
        text=contents.decode("utf-8", "surrogateescape"),
    )


def _of(names: Collection[Name], labels: Collection[str]) -> set[Name]:
    return {name for name in names if name[0] in labels}


def _state(name: Name, state: str, archived: Mapping[Name, Source]) -> SourceState:
    source = archived.get(name)
    return SourceState(
        name=dotted((name,)),
        state=state,
        path=source.path if source else "",
        checksum=source.checksum if source else "",
    )
