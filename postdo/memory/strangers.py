"""Migrations that are recorded and never came past us: by ``--fake``, by hand, by ``manage.py``.

Of the journal this asks names alone, and imports nothing of it: a start in which nothing is pending
has to be quick.
"""

from __future__ import annotations

from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.database import rows
from postdo.history import History, Name

# Whether there is a journal that this role can read. PostgreSQL 14 to 18.
READABLE = """
SELECT has_table_privilege(c.oid, 'SELECT') FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'postdo_journal' AND c.relname = 'source' AND has_schema_privilege(n.oid, 'USAGE')
"""
ARCHIVED = "SELECT app, name FROM postdo_journal.source"


def find_strangers(session: BaseDatabaseWrapper, settled: History) -> tuple[Name, ...]:
    """Those of the applied migrations that the journal has no file of; none without a journal."""
    try:
        if rows(session, READABLE) != [(True,)]:
            return ()
        archived = frozenset((app, name) for app, name in rows(session, ARCHIVED))
    except (DatabaseError, InterfaceError):
        return ()
    return tuple(sorted((settled.recorded & settled.on_disk) - archived)) if archived else ()
