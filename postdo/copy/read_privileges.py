"""What the role may not read, and so pg_dump cannot copy."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.database import rows
from postdo.base.errors import Refused
from postdo.base.formatting import listed, table

DENIED = "permission denied for "
SHOWN = 5  # names in a line; the statement has all of them

# The role, the tables and sequences that it may not read, as SQL writes them, and their schema if
# that is closed to it. PostgreSQL 14 to 18.
UNREADABLE = """
SELECT quote_ident(current_user), format('%I.%I', n.nspname, c.relname),
       CASE WHEN NOT has_schema_privilege(n.oid, 'USAGE') THEN quote_ident(n.nspname) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))
ORDER BY 2
"""


def refusal(session: BaseDatabaseWrapper) -> Refused | None:
    """The error that says what to grant so that pg_dump can read everything (hazard 56).

    ``None`` if it can already.
    """
    found = rows(session, UNREADABLE)
    if not found:
        return None
    role, names = found[0][0], [table(name) for _, name, _ in found]
    closed = sorted({schema for *_, schema in found if schema})
    usage = f"GRANT USAGE ON SCHEMA {', '.join(closed)} TO {role}; " if closed else ""
    return Refused(
        f"the database cannot be copied: {role} may not read {listed(names, SHOWN)}",
        f"as a superuser: {usage}GRANT SELECT ON {', '.join(names)} TO {role}",
    )
