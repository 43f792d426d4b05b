"""Check that the WAL of a copy does not cost a standby that is down its replication slot."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.database import rows
from postdo.base.errors import Refused
from postdo.base.formatting import megabytes

# Replication slots that nobody reads at this moment, and that the server gives up after less than
# so many bytes of WAL: name, bytes. PostgreSQL 14 to 18.
AT_RISK = """
SELECT slot_name::text, safe_wal_size FROM pg_replication_slots
WHERE NOT active AND safe_wal_size < %s ORDER BY safe_wal_size
"""


def require_room(session: BaseDatabaseWrapper, wal: int) -> None:
    """Raise ``Refused`` if ``wal`` bytes of WAL would make the server drop a slot (hazard 54).

    The standby of that slot would have to be built anew.
    """
    for name, left in rows(session, AT_RISK, wal):
        raise Refused(
            f"a copy of the database writes {megabytes(wal)} of WAL, and after {megabytes(left)} "
            f"the server invalidates replication slot {name}, which has no consumer "
            "(max_slot_wal_keep_size)",
            f"start its consumer, or drop the slot: SELECT pg_drop_replication_slot('{name}'); or "
            "set REHEARSE=schema for a copy without rows",
        )
