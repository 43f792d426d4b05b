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
    """Which database is meant, for messages: no password."""

    host: str
    port: str
    name: str
    user: str

    def __str__(self) -> str:
        return f"{self.name!r} at {self.host}:{self.port}"


def target() -> Target:
    """The default database as the settings describe it.

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
    """What an alias is to the default one: its address again, a copy by the settings' own word
    (``TEST["MIRROR"]``), the same database by another address, a standby of it, or another one.
    """

    SAME = "same"
    MIRROR = "mirror"
    ALIAS = "alias"
    STANDBY = "standby"
    OTHER = "other"


def kinship(alias: str) -> Kinship:
    """Asks both servers where the settings do not tell; one that does not answer is another."""
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
    """Aliases of the project's further databases, which nothing here prepares."""
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
    """A new session of our own. libpq takes less than two seconds for two.

    ``name``: of another database on the same server, if it is not the project's that is meant.
    ``port``: of another server at the same address. ``login``: of another role.

    Errors are Django's: ``OperationalError`` and ``NotSupportedError`` for the caller to read.
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
    """The session, closed at the end, whatever state it is in."""
    try:
        yield session
    finally:
        with suppress(DatabaseError, InterfaceError):
            session.close()


def cancel(session: BaseDatabaseWrapper) -> None:
    """End the statement that a session is at, from another thread; harmless if there is none."""
    connection: Any = session.connection
    if connection is not None:
        with suppress(Exception):  # it is tried again, and the driver decides what can go wrong
            connection.cancel()


def rows(session: BaseDatabaseWrapper, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """What one statement returns; nothing, if it returns no rows.

    By the driver's own cursor: Django's warns when it is used before all apps are set up.
    """
    connection: Any = session.connection
    if connection is None:
        raise InterfaceError("the session was lost")
    with session.wrap_database_errors, connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return list(cursor.fetchall()) if cursor.description else []


def answers(session: BaseDatabaseWrapper) -> bool:
    """Whether a session in autocommit is still of use."""
    try:
        rows(session, "SELECT 1")
    except (DatabaseError, InterfaceError):
        return False
    return True


@contextmanager
def observer(
    session: BaseDatabaseWrapper, application_name: str
) -> Iterator[BaseDatabaseWrapper | None]:
    """A session that can still look at the database: this one, or else a new one, or else none."""
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
    """The five characters that say what happened, if the driver tells (psycopg2 or psycopg 3)."""
    for cause in (error, error.__cause__):
        state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        if state:
            return str(state)
    return None


def message(error: BaseException) -> str:
    """One line of what the server or libpq said, without address and severity."""
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
