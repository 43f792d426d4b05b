"""Which migrations are on disk, which are recorded as applied, and which are pending.

Django's own executor answers that too, but it imports every migration and builds their graph each
time: with hundreds of migrations too dear for a question that is asked every few seconds. Here
the disk is read once per process, and each answer costs one query.
"""

from collections.abc import Collection, Mapping
from functools import cache

from django.conf import settings
from django.db import ProgrammingError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

Key = tuple[str, str]
"""A migration: the label of its app, and its name."""


def on_disk() -> Mapping[Key, tuple[Key, ...]]:
    """Return every migration of the project, each with those that it replaces (squashed).

    Read once per process, because a release does not change while it runs. With DEBUG it is
    read each time, since there makemigrations may have added one.
    """
    if settings.DEBUG:
        _read_disk.cache_clear()
    return _read_disk()


@cache
def _read_disk() -> Mapping[Key, tuple[Key, ...]]:
    loader = MigrationLoader(None, load=False)
    loader.load_disk()
    return {key: tuple(migration.replaces) for key, migration in loader.disk_migrations.items()}


def applied() -> frozenset[Key]:
    """Return the migrations that the database records as applied, by one query.

    A database that was never migrated has no record: none is applied. Raises `django.db.Error`
    when the database cannot be asked.
    """
    recorder = MigrationRecorder(connection)
    try:
        return frozenset(recorder.migration_qs.values_list("app", "name"))
    except ProgrammingError:
        if recorder.has_table():
            raise
        return frozenset()


def pending(disk: Mapping[Key, Collection[Key]], applied: Collection[Key]) -> list[Key]:
    """Return what ``migrate`` would still have to do, sorted. Pure.

    `disk` maps each migration to those that it replaces. The rules are those of Django's
    `MigrationLoader.build_graph`: a squashed migration is applied when all that it replaces are;
    when none is, it stands for them; when only some are, it is passed over and the rest count one
    by one. The exception: one that is recorded itself, while those that it replaces were pruned
    from the record by a later release, counts as applied, where Django would run it once more.
    """
    done, relevant = set(applied), set(disk)
    for key, replaces in disk.items():
        if not replaces:
            continue
        if done.issuperset(replaces):
            done.add(key)
        if done.issuperset(replaces) or done.isdisjoint(replaces):
            relevant.difference_update(replaces)
        else:
            relevant.discard(key)
    return sorted(relevant - done)
