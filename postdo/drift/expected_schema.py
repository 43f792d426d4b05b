"""Find out which schema the applied migrations should have produced.

There are two sources. After each release the journal stores the expected schema, computed from the
previous one and from what the release changed (``schema.expected_change``). If the journal has none
for the applied migrations (the first run, or a restored database), the migrations run on an empty
scratch database in a worker process, and the schema that results is stored.

A migration file may have been edited or deleted since it was applied. Then the archived copy in the
journal is used in its place (``rehearsal.archived_loader``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from postdo.base.console import Stopwatch
from postdo.base.database import rows
from postdo.base.errors import Refused
from postdo.base.project import Project
from postdo.copy.scratch import scratch_database
from postdo.django_migrations.history import Name, dotted
from postdo.drift.subject import Subject
from postdo.journal.journal import Source
from postdo.journal.source_text import dependencies
from postdo.journal.sources import read_sources, replaced_by
from postdo.rehearsal.process import Job, Result, work
from postdo.rehearsal.trace import Failure
from postdo.schema import catalogue
from postdo.schema.catalogue import Catalogue
from postdo.schema.queries import MAJOR


def key(applied: frozenset[Name], major: int) -> str:
    """The journal's key for an expected schema: applied set, PostgreSQL major, catalogue format."""
    made_by = [catalogue.FORMAT, major, sorted(applied)]
    return hashlib.sha256(json.dumps(made_by).encode()).hexdigest()


def expected(subject: Subject, *, build: bool = True) -> Catalogue | None:
    """The expected schema: from the journal, or built in a scratch database and then kept.

    ``build``: whether to build it; without it ``None`` if the journal has none. Raises ``Refused``
    if the migrations cannot be run from nothing.
    """
    applied = subject.known
    ((major,),) = rows(subject.session, MAJOR)
    kept = subject.journal.expected(key(applied, major))
    if kept is not None or not build:
        return kept
    made = from_nothing(subject, applied)
    keep(subject, made)
    return made


def keep(subject: Subject, schema: Catalogue) -> None:
    """Remember this schema as the expected one for what is applied now."""
    applied = subject.known
    subject.journal.keep_expected(key(applied, schema.major), schema, applied)


def from_nothing(subject: Subject, applied: frozenset[Name]) -> Catalogue:
    """The schema that exactly these migrations make in an empty database; it is not kept.

    Archived sources are used in place of edited files. Raises ``Refused`` if they cannot be run.
    """
    watch, say = Stopwatch(), subject.run.console.say
    targets, archived = _files(subject.project, subject.archived, applied)
    say(f"building the expected schema from {len(targets)} migrations")
    result = _made(subject, targets, (), archived)
    if result.trace is None:
        raise _refused(result.failure)
    say(f"the expected schema is known ({watch})")
    return result.trace.after


def with_each(
    subject: Subject, common: frozenset[Name], more: Sequence[frozenset[Name]]
) -> tuple[Catalogue | None, ...]:
    """The schemas after ``common`` and each of the sets in ``more``; ``common`` is run only once.

    ``None`` for a set that cannot be run in a transaction after ``common``.
    """
    sets = (common, *(common | names for names in more))
    files = [_files(subject.project, subject.archived, names) for names in sets]
    targets, *further = (names for names, _ in files)
    texts = {name: text for _, archived in files for name, text in archived}
    subject.run.console.say(f"building {len(further)} more schemas from {len(targets)} migrations")
    result = _made(subject, targets, tuple(further), tuple(texts.items()))
    return result.further if result.trace else (None,) * len(more)


def _made(
    subject: Subject,
    targets: tuple[Name, ...],
    further: tuple[tuple[Name, ...], ...],
    archived: tuple[tuple[str, str], ...],
) -> Result:
    with scratch_database(subject.run, subject.session) as name:
        return work(
            subject.run,
            Job(
                database=name,
                mode="expected",
                isolated=True,
                trace=False,
                targets=targets,
                further=further,
                archived=archived,
                seconds=subject.run.config.policies.rehearse_seconds,
                memory_mb=subject.run.config.policies.memory_mb,
            ),
        )


def _files(
    project: Project, archive: Mapping[Name, Source], applied: frozenset[Name]
) -> tuple[tuple[Name, ...], tuple[tuple[str, str], ...]]:
    """Which migrations to run, and the archived text of those whose file is another one or gone."""
    labels = {app.label for app in project.apps if app.migrations is not None}
    wanted = {name for name in applied if name[0] in labels}
    on_disk = {one.name: one.checksum for one in read_sources(project, wanted)}
    gone = wanted - on_disk.keys()
    # A squash that is here does what they did; a compiled file without a source runs as it is.
    wanted -= replaced_by(project, on_disk, gone, archive) & gone

    def is_archived(name: Name) -> bool:
        return name in archive and on_disk.get(name) != archive[name].checksum

    # An app that is gone counts only where an older file of another one depends on it.
    waiting = [name for name in wanted if is_archived(name)]
    while waiting:
        needed = set(dependencies(archive[waiting.pop()].text)) & applied
        further = {name for name in needed - wanted if name[0] not in labels and name in archive}
        wanted |= further
        waiting.extend(further)
    changed = [archive[name] for name in sorted(wanted) if is_archived(name)]
    return tuple(sorted(wanted)), tuple(map(_text, changed))


def _text(source: Source) -> tuple[str, str]:
    return dotted((source.name,)), source.text


def _refused(failure: Failure | None) -> Refused:
    if failure is None:
        return Refused("the expected schema cannot be built", "fix what the lines above say")
    place = f" at {failure.place}" if failure.place else ""
    return Refused(
        f"the applied migrations fail on an empty database: {failure.migration or 'migrate'}: "
        f"{failure.what}",
        f"fix the migration{place} so that it also runs on an empty database; until then drift is "
        "unknown",
        details=(failure.statement,) if failure.statement else (),
    )
