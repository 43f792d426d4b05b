"""Restore sequences after a rollback, because PostgreSQL does not roll back setval.

Suppose that a migration deletes rows and sets their sequence back, as ``loaddata`` does, and is
then rolled back. The rows are there again, but the sequence stays where it was set, so the next
INSERT of the site would fail with a duplicate key. ``standing`` reads all sequences before the
migrations, and ``bring_back`` moves those forward that are behind afterwards.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.database import rows

# Name as SQL writes it, and last value, of each sequence that goes up, was used and is ours to set.
# PostgreSQL 14 to 18.
STANDING = """
SELECT format('%I.%I', schemaname, sequencename), last_value FROM pg_sequences
WHERE last_value IS NOT NULL AND increment_by > 0 AND NOT cycle
  AND has_sequence_privilege(format('%I.%I', schemaname, sequencename), 'UPDATE')
"""
# Sets one forward to where it was, if it is behind that now; nothing if it is gone. 14 to 18.
FORWARD = """
SELECT setval(s.name::regclass, s.value) FROM (VALUES (%s::text, %s::bigint)) AS s(name, value)
WHERE coalesce(pg_sequence_last_value(to_regclass(s.name)), s.value - 1) < s.value
  AND to_regclass(s.name) IS NOT NULL
"""


def standing(session: BaseDatabaseWrapper) -> dict[str, int]:
    """The last number that each sequence has given out."""
    return dict(rows(session, STANDING))


def bring_back(session: BaseDatabaseWrapper, were: dict[str, int]) -> None:
    """Advance sequences that stand behind where they stood before, as a rollback leaves them."""
    now = standing(session)
    for name, value in were.items():
        if now.get(name, value - 1) < value:
            rows(session, FORWARD, name, value)
