"""Connections of our own to the project's database, made by Django's own backend.

Django's settings decide host, user, role, TLS and time zone; on top of them our sessions have a
name, a bounded time to connect, autocommit and no pool.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.config import Login
from postdo.base.errors import Misconfigured, one_line
from postdo.base.formatting import identifier

APPLICATION_NAME_BYTES = 63  # NAMEDATALEN - 1; PostgreSQL cuts what is longer
KEEPALIVE_SECONDS = 60  # below the idle limits of cloud firewalls, 350 s and more
# PostgreSQL 14 to 18.
IDENTITY = """
SELECT system_identifier, current_database(), pg_postmaster_start_time(), pg_is_in_recovery()
FROM pg_control_system()
"""
PID = "SELECT pg_backend_pid()"
LOOK_SECONDS = 5.0  # to connect once more and see what a failure left

# libpq puts the address before what the server said; several addresses give several lines.
_ADDRESS = re.compile(r"^.*?connection to server .*? failed: ")


@dataclass(frozen=True)
class Target:
    """The database that the settings name, for messages: without its password."""

    host: str
    port: str
    name: str
    user: str

    def __str__(self) -> str:
        return f"{self.name!r} at {self.host}:{self.port}"


def target() -> Target:
    """The default database as the settings describe it. Connects to nothing.

    Raises ``Misconfigured`` if it is not PostgreSQL, or if its driver is not installed.
    """
    wrapper = _default()
    if wrapper.vendor != "postgresql":
        raise Misconfigured(
            f'DATABASES["default"] is {wrapper.settings_dict["ENGINE"]!r}, but postdo works '
            "only with PostgreSQL",
            f"write in {settings.SETTINGS_MODULE}: DATABASES = "
            '{"default": dj_database_url.config()} (package dj-database-url), and without the kit '
            "set DATABASE_URL to postgres://user:password@host:port/database",
        )
    options = wrapper.settings_dict
    return Target(
        host=options["HOST"] or "the local socket",
        port=str(options["PORT"] or 5432),
        name=options["NAME"] or options["OPTIONS"].get("service", ""),
        user=options["USER"],
    )


class Kinship(enum.Enum):
    """How a further database alias of the settings relates to the default one.

    - ``SAME``: the same address. ``ALIAS``: the same database under another address.
    - ``MIRROR``: the settings call it a copy (``TEST["MIRROR"]``). ``STANDBY``: the server is one.
    - ``OTHER``: another database.
    """

    SAME = "same"
    MIRROR = "mirror"
    ALIAS = "alias"
    STANDBY = "standby"
    OTHER = "other"


def kinship(alias: str) -> Kinship:
    """How ``alias`` relates to the default database.

    The settings decide where they can. Otherwise both servers are asked which cluster they are; a
    server that does not answer within 2 seconds counts as another database.
    """
    ours, entry = (_settings_of(one) for one in (DEFAULT_DB_ALIAS, alias))
    if (entry.get("TEST") or {}).get("MIRROR") == DEFAULT_DB_ALIAS:
        return Kinship.MIRROR
    if _address(entry) == _address(ours):
        return Kinship.SAME
    # A standby has the name of what it copies, and so has whoever stands in front of a server.
    alike = all(entry.get(key) == ours.get(key) for key in ("ENGINE", "NAME"))
    return _by_asking(alias) if alike and _default().vendor == "postgresql" else Kinship.OTHER


def _by_asking(alias: str) -> Kinship:
    try:
        here, there = _identity(DEFAULT_DB_ALIAS), _identity(alias)
    except (DatabaseError, InterfaceError, ImproperlyConfigured):
        return Kinship.OTHER
    if here[:2] != there[:2]:
        return Kinship.OTHER
    if here[2] == there[2]:
        return Kinship.ALIAS
    return Kinship.STANDBY if there[3] and not here[3] else Kinship.OTHER


def other_databases() -> tuple[str, ...]:
    """Aliases of the project's further databases, which ``postdo`` does not migrate."""
    return tuple(alias for alias in connections if kinship(alias) is Kinship.OTHER)


def _settings_of(alias: str) -> dict[str, Any]:
    found: dict[str, Any] = connections.settings[alias]
    return found


def _address(entry: dict[str, Any]) -> tuple[str, ...]:
    service = (entry.get("OPTIONS") or {}).get("service", "")
    keys = ("ENGINE", "HOST", "PORT", "NAME")
    return (*(str(entry.get(key) or "") for key in keys), str(service))


def _identity(alias: str) -> tuple[Any, ...]:
    """Of which cluster and database it is, since when its server runs, and whether it recovers."""
    wrapper: BaseDatabaseWrapper = connections.create_connection(alias).copy()
    options: dict[str, Any] = wrapper.settings_dict["OPTIONS"]
    options.pop("pool", None)
    options["connect_timeout"] = 2
    wrapper.settings_dict["AUTOCOMMIT"] = True
    wrapper.ensure_connection()
    with closing(wrapper):
        return rows(wrapper, IDENTITY)[0]


def connect(
    application_name: str,
    timeout_seconds: float,
    *,
    name: str = "",
    port: int = 0,
    login: Login | None = None,
) -> BaseDatabaseWrapper:
    """Open a new session with the settings of the default database, in autocommit.

    ``timeout_seconds``: for the connection; libpq treats less than 2 as 2.

    - ``name``: another database on the same server.
    - ``port``: another server at the same address.
    - ``login``: another role.

    Raises Django's ``OperationalError`` or ``NotSupportedError``.
    """
    wrapper: BaseDatabaseWrapper = _default().copy()
    wrapper.settings_dict["NAME"] = name or wrapper.settings_dict["NAME"]
    wrapper.settings_dict["PORT"] = port or wrapper.settings_dict["PORT"]
    options: dict[str, Any] = wrapper.settings_dict["OPTIONS"]
    if login is not None:
        wrapper.settings_dict["USER"] = login.user
        wrapper.settings_dict["PASSWORD"] = login.password
        options.pop("assume_role", None)
    options.pop("pool", None)
    options["connect_timeout"] = max(2, int(timeout_seconds))
    options["application_name"] = application_name.encode()[:APPLICATION_NAME_BYTES].decode(
        errors="ignore"
    )
    options.setdefault("keepalives_idle", KEEPALIVE_SECONDS)
    wrapper.settings_dict["AUTOCOMMIT"] = True
    wrapper.ensure_connection()
    return wrapper


@contextmanager
def closing(session: BaseDatabaseWrapper) -> Iterator[BaseDatabaseWrapper]:
    """Close the session at the end of the block, whatever state it is in."""
    try:
        yield session
    finally:
        with suppress(DatabaseError, InterfaceError):
            session.close()


def cancel(session: BaseDatabaseWrapper) -> None:
    """Cancel the statement that a session is running, from another thread; if any."""
    connection: Any = session.connection
    if connection is not None:
        with suppress(Exception):  # it is tried again, and the driver decides what can go wrong
            connection.cancel()


def rows(session: BaseDatabaseWrapper, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows; an empty list if it returns none.

    It uses the driver's own cursor, because Django's warns when it is used before all apps are set
    up. Raises Django's database errors.
    """
    connection: Any = session.connection
    if connection is None:
        raise InterfaceError("the session was lost")
    with session.wrap_database_errors, connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return list(cursor.fetchall()) if cursor.description else []


def role(session: BaseDatabaseWrapper) -> str:
    """The role that the session logged in as, as SQL takes it. Also in a failed transaction."""
    # A service file or the system's user may decide, and then only the driver knows.
    return identifier(session.settings_dict["USER"] or session.connection.info.user)


def answers(session: BaseDatabaseWrapper) -> bool:
    """Whether a session in autocommit still works: it is asked ``SELECT 1``. Never raises."""
    try:
        rows(session, "SELECT 1")
    except (DatabaseError, InterfaceError):
        return False
    return True


@contextmanager
def observer(
    session: BaseDatabaseWrapper, application_name: str
) -> Iterator[BaseDatabaseWrapper | None]:
    """Yield a session that can query the database: the given one, else a new one, else ``None``."""
    if answers(session):
        yield session
        return
    try:
        fresh = connect(application_name, LOOK_SECONDS)
    except (DatabaseError, InterfaceError):
        yield None
        return
    with closing(fresh):
        yield fresh


def sqlstate(error: BaseException) -> str | None:
    """The error's SQLSTATE (five characters, PostgreSQL's appendix A), or ``None`` without one.

    Works for psycopg2 and psycopg 3, and for Django's errors that wrap theirs.
    """
    for cause in (error, error.__cause__):
        state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        if state:
            return str(state)
    return None


def message(error: BaseException) -> str:
    """What the server or libpq said, on one line and without address and severity."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if "failed:" in line), one_line(error))
    return _ADDRESS.sub("", said).removeprefix("FATAL:").strip()


def _default() -> BaseDatabaseWrapper:
    try:
        return connections[DEFAULT_DB_ALIAS]
    except ImproperlyConfigured as error:
        raise Misconfigured(
            f'DATABASES["default"] cannot be used: {one_line(error)}',
            "install psycopg2 or psycopg (3), and check DATABASE_URL",
        ) from error
