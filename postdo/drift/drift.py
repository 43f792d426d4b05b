"""The ``drift`` command: compare the real schema with what the applied migrations should produce.

``find`` reads the real schema from PostgreSQL's catalogues, gets the expected one
(``expected_schema``), and compares them object by object. An alarm is a difference that can break a
migration or the site; others, such as an additional index, are harmless.

Sometimes the schema is right and the record is wrong: django_migrations says that a migration is
applied and its changes are not there, or the reverse. ``explain`` builds the schema that would be
expected with the record of each suspect corrected. If that is exactly the real schema
(``wrong_record.proves``), the record is the cause, and ``repair`` may correct it. ``repair``
changes only the record, never the schema.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.apps import apps as registry
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import CreateModel

from postdo.base.advisory_lock import exclusive
from postdo.base.context import Run
from postdo.base.database import rows
from postdo.base.errors import Refused
from postdo.base.project import Project
from postdo.django_migrations import history
from postdo.django_migrations.history import Name, dotted
from postdo.drift.already_there import does_more, with_adopted
from postdo.drift.expected_schema import expected, from_nothing, keep, with_each
from postdo.drift.subject import Subject, read_subject
from postdo.drift.try_repair import UNRECORD, applies, tried
from postdo.drift.wrong_record import proves
from postdo.journal.journal import Journal
from postdo.journal.sources import read_sources
from postdo.schema.catalogue import Catalogue, read
from postdo.schema.diff import Difference, compare
from postdo.schema.normalize import worded

CANDIDATES = 4  # migrations that are tried as the reason, of each kind

# Django's own record of an applied migration. Django 1.7 and newer.
RECORD = "INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, now())"


@dataclass(frozen=True)
class Explanation:
    """A migration whose wrong record explains the drift.

    ``repair``: ``unrecord`` (it is recorded, but its changes are missing) or ``record`` (its
    changes are there, but it is not recorded).
    """

    migration: str
    repair: str

    def __str__(self) -> str:
        if self.repair == "unrecord":
            return f"{self.migration} is recorded as applied, but its changes are not in the schema"
        return f"{self.migration} is not recorded as applied, but its changes are in the schema"


def find(subject: Subject, *, build: bool = True) -> tuple[Difference, ...] | None:
    """How the real schema differs from the expected one, alarms first. Its SQL is not tried yet.

    ``build``: build the expected schema from nothing if the journal has none; otherwise ``None`` is
    returned then. Raises ``Refused`` if it cannot be built.
    """
    wanted = remembered = expected(subject, build=False)
    if wanted is None and build:
        wanted = expected(subject)
    if wanted is None:
        return None
    actual = worded(subject.session, read(subject.session), wanted)
    if remembered is not None and build:
        wanted = with_adopted(subject, remembered, actual)
        if wanted is not remembered:
            keep(subject, wanted)
    return compare(wanted, actual)


def try_sql(subject: Subject, differences: tuple[Difference, ...]) -> tuple[Difference, ...]:
    """The differences of ``find``, each with SQL that worked on a copy, or without SQL."""
    wanted = expected(subject) if any(one.sql for one in differences) else None
    return differences if wanted is None else tried(subject, differences, wanted)


def repair(
    run: Run, project: Project, session: BaseDatabaseWrapper, name: str, how: str
) -> Explanation:
    """Correct the record of one migration, if and only if the real schema proves it wrong.

    ``name``: ``app.name``. ``how``: ``record`` or ``unrecord``. It looks again while it holds the
    lock, because the process that had it may have changed everything. Raises ``Refused`` if the
    schema does not prove it, or if the record is like that already.
    """
    app, _, migration = name.partition(".")
    with exclusive(run, session):
        before = history.read(session, project)
        if ((app, migration) in before.recorded) == (how == "record"):
            state = "recorded" if how == "record" else "not recorded"
            raise Refused(
                f"nothing to do: {name} is {state} as applied",
                f"see the remaining differences: {run.config.postdo('drift')}",
            )
        journal = Journal(run, session)
        subject = read_subject(run, project, session, before, journal)
        explanations = explain(subject, find(subject) or ())
        explanation = next((one for one in explanations if one.migration == name), None)
        if explanation is None or explanation.repair != how:
            raise Refused(
                f"the schema does not prove that {name} is wrongly "
                f"{'recorded' if how == 'unrecord' else 'not recorded'}",
                f"see the differences: {run.config.postdo('drift')}",
            )
        rows(session, RECORD if how == "record" else UNRECORD, app, migration)
        if how == "record":  # else each start would say that it did not come past us
            journal.keep_sources(read_sources(project, {(app, migration)}))
    run.console.say(f"{name}: {how}ed")
    return explanation


def explain(subject: Subject, differences: tuple[Difference, ...]) -> tuple[Explanation, ...]:
    """Which wrong records explain the differences (see ``wrong_record.proves``).

    A schema is built for each migration in question. One that does more than a schema shows never
    counts: what it did to rows is not visible, and a second run could do it twice. One that would
    be un-recorded was also applied to a copy, because that is what comes next.
    """
    applied = subject.known
    alarms = any(one.alarm for one in differences)
    extra = {one.table for one in differences if one.kind == "table" and not one.alarm}
    if not (alarms or extra):
        return ()
    loader = MigrationLoader(None, ignore_no_migrations=True)
    nodes, concerned = loader.graph.nodes, _concerned(differences)
    shown = [n for n in nodes if n[0] in concerned and not does_more(loader, n)]
    last = [n for n in shown if alarms and n in applied and not _needed_by(loader, n) & applied]
    first = [n for n in shown if n not in applied and _needs(loader, n) <= applied]
    # A further table is no alarm, so only a migration that makes it is worth a try.
    first = [n for n in first if alarms or _makes(loader, n, extra)]
    tries = [(n, "unrecord", applied - {n}) for n in _latest_first(last)]
    tries += [(n, "record", applied | {n}) for n in _latest_first(first)]
    if not tries:
        return ()
    as_recorded, *corrected = _schemas(subject, [applied, *(names for _, _, names in tries)])
    if as_recorded is None:
        return ()
    actual = worded(subject.session, read(subject.session), as_recorded)
    proved = (
        (name, how)
        for (name, how, _), made in zip(tries, corrected, strict=True)
        if made is not None and proves(made, as_recorded, worded(subject.session, actual, made))
    )
    return tuple(
        Explanation(dotted((name,)), how)
        for name, how in proved
        if how == "record" or applies(subject, name)
    )


def _schemas(subject: Subject, sets: list[frozenset[Name]]) -> list[Catalogue | None]:
    """What each of these makes; ``None``: what cannot be made cannot be what is there.

    They have nearly all in common, which takes a minute where there are hundreds of migrations.
    """
    common = frozenset.intersection(*sets)
    schemas = with_each(subject, common, [names - common for names in sets])
    return [made or _alone(subject, names) for made, names in zip(schemas, sets, strict=True)]


def _alone(subject: Subject, names: frozenset[Name]) -> Catalogue | None:
    try:
        return from_nothing(subject, names)
    except Refused:
        return None


def _concerned(differences: tuple[Difference, ...]) -> frozenset[str]:
    """The apps whose tables differ: each migration that is tried costs a schema."""
    tables = {one.table.partition(".")[2] for one in differences}
    return frozenset(
        app.label
        for app in registry.get_app_configs()
        if any(table.startswith(f"{app.label}_") for table in tables)
        or any(
            model._meta.db_table in tables for model in app.get_models(include_auto_created=True)
        )
    )


def _makes(loader: MigrationLoader, name: Name, tables: Iterable[str]) -> bool:
    bare = {table.partition(".")[2] for table in tables}
    return any(
        isinstance(one, CreateModel)
        and one.options.get("db_table", f"{name[0]}_{one.name_lower}") in bare
        for one in loader.graph.nodes[name].operations
    )


def _needed_by(loader: MigrationLoader, name: Name) -> frozenset[Name]:
    return frozenset(child.key for child in loader.graph.node_map[name].children)


def _needs(loader: MigrationLoader, name: Name) -> frozenset[Name]:
    return frozenset(parent.key for parent in loader.graph.node_map[name].parents)


def _latest_first(names: Iterable[Name]) -> list[Name]:
    """The highest numbers first: the apps that change are those with many migrations."""
    return sorted(names, key=lambda name: name[1], reverse=True)[:CANDIDATES]
