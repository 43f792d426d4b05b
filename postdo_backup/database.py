"""A connection to PostgreSQL by whichever driver is installed: psycopg 3 or psycopg2.

Both take a connection string, have cursors, and leave a text without parameters as it is. Nothing
else of them is used here.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

NAME = "postdo backup"  # in pg_stat_activity
# For the whole session; a database or a role may have other defaults. A time-out is the caller's
# business, and row security must never leave rows out. Which of them a server knows: SETTINGS.
FIXED = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "search_path": "",
    "row_security": "off",
    "jit": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    # A statement ends when whoever waits for it was killed; else it keeps its locks to its end.
    "client_connection_check_interval": "1s",
}
# Sets what the server knows of FIXED; transaction_timeout came with 17. PostgreSQL 14 to 18.
SETTINGS = """
SELECT set_config(wanted.name, wanted.value, false)
FROM (VALUES {pairs}) wanted (name, value) JOIN pg_settings USING (name)
"""


def driver() -> ModuleType:
    """The driver's module. Raises ``ImportError`` if there is none."""
    try:
        return import_module("psycopg")
    except ImportError:
        return import_module("psycopg2")


def connect(address: str, name: str = NAME) -> Any:
    """Connect, with everything fixed on which the text of a value depends. Commits by itself.

    ``address``: a URL or a connection string; what is not in it comes from ``PGPASSWORD`` and the
    other variables of libpq. Raises the driver's ``Error``.
    """
    # The time-out here already: a database may have one that ends the first statement.
    options = "-c statement_timeout=0"
    connection = driver().connect(address, application_name=name, options=options)
    connection.autocommit = True
    pairs = ", ".join(f"({literal(key)}, {literal(value)})" for key, value in FIXED.items())
    rows(connection, SETTINGS.format(pairs=pairs))
    return connection


def for_a_program(address: str) -> tuple[str, dict[str, str]]:
    """The address without its password, and a variable with that.

    Everybody on the machine can read with which arguments a program was started.
    """
    if (found := driver()).__name__ == "psycopg":
        text = import_module("psycopg.conninfo")
        parts, join = text.conninfo_to_dict(address), text.make_conninfo
    else:
        parts, join = found.extensions.parse_dsn(address), found.extensions.make_dsn
    password = parts.pop("password", None)
    return join(**parts), {} if password is None else {"PGPASSWORD": str(password)}


def rows(connection: Any, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement; its rows, or none if it has no result."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def literal(text: str) -> str:
    """A text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"
