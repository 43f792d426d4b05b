"""Control where the database driver connects when a rehearsed migration bypasses Django.

A migration can call ``psycopg.connect`` itself, with the address from DATABASE_URL. libpq does not
pass Python's audit hook, so ``sandbox`` cannot see that. Instead, the variables of the environment
that name production's database name the copy in the worker process, and a call of the driver with
the address of production is refused.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from django.db.utils import OperationalError

from postdo.executor.driver_guard import look_at, name_in, with_settings
from postdo.rehearsal import limits
from postdo.rehearsal.limits import marked

DEFAULT_PORT = "5432"
URL = re.compile(r"(?:postgres|postgis|pgsql|psycopg|timescale)[\w+.-]*://", re.IGNORECASE)
# Variables that hold no more than the name or the port of the database, by custom.
NAMES = ("PGDATABASE", "POSTGRES_DB", "POSTGRES_DATABASE", "DB_NAME", "DATABASE_NAME")
PORTS = ("PGPORT", "POSTGRES_PORT", "DB_PORT", "DATABASE_PORT")

Address = tuple[str, str]  # host and port, as text


@dataclass(frozen=True)
class Place:
    """A database: its ``name``, and the ``addresses`` and the ``port`` of its server."""

    name: str
    port: str
    addresses: frozenset[Address]

    def is_at(self, host: str, port: str) -> bool:
        """Whether this is the server's address; a host name is resolved if nothing else decides."""
        return port == self.port and not self.addresses.isdisjoint(
            {(host, port)} if (host, port) in self.addresses else addresses(host, port)
        )


def addresses(host: str, port: str) -> frozenset[Address]:
    """The addresses of a server: as written, and as resolved numbers."""
    found = {(host, port)}
    if host and not host.startswith("/"):
        with suppress(OSError):
            found |= {(str(entry[4][0]), port) for entry in socket.getaddrinfo(host, port)}
    return frozenset(found)


class SandboxDriver:
    """Knows production's database and the copy, and directs connections to the latter.

    Create it before the settings name the copy, and before the network is closed.
    """

    def __init__(self, name: str, port: int) -> None:
        entry: Mapping[str, Any] = settings.DATABASES[DEFAULT_DB_ALIAS]
        host = str(entry.get("HOST") or os.environ.get("PGHOST", ""))
        usual = str(entry.get("PORT") or os.environ.get("PGPORT") or DEFAULT_PORT)
        self.production = Place(str(entry.get("NAME") or ""), usual, addresses(host, usual))
        there = str(port or usual)
        hosts = (one for one, _ in self.production.addresses)
        self.copy = Place(name, there, frozenset((one, there) for one in hosts))

    @property
    def servers(self) -> frozenset[Address]:
        """The addresses of both servers."""
        return self.production.addresses | self.copy.addresses

    def point_environment(self) -> None:
        """Let environment variables that mean production's database mean the copy."""
        production, copy = self.production, self.copy
        if not production.name:
            return  # a service file names it; the guard does not let anybody there
        for key, value in tuple(os.environ.items()):
            if URL.match(value):
                os.environ[key] = self._url(value)
            elif key in NAMES and value == production.name:
                os.environ[key] = copy.name
            elif key in PORTS and value == production.port:
                os.environ[key] = copy.port
        if copy.port != production.port:
            os.environ["PGPORT"] = copy.port

    def guard(
        self,
        *,
        lock_timeout_ms: int,
        network: Callable[[Address], bool],
        opened: Callable[[], None],
        note: Callable[[str], None],
    ) -> None:
        """From now on refuse, and note, connections to other databases.

        A session with the copy gets ``lock_timeout_ms``, since what it waits for may be our own
        session, and is reported to ``opened``. ``network``: tells whether another server may be
        reached.
        """

        def look(parameters: dict[str, str]) -> Mapping[str, str]:
            host = parameters.get("hostaddr") or parameters.get("host")
            host = host or os.environ.get("PGHOST", "")
            port = parameters.get("port") or os.environ.get("PGPORT") or DEFAULT_PORT
            name = name_in(parameters)
            if name == self.copy.name and self.copy.is_at(host, port):
                opened()
                return with_settings(parameters, lock_timeout=f"{lock_timeout_ms}ms")
            elsewhere = name not in (self.production.name, "")
            if elsewhere and network((host, port)) and not self._is_ours(host, port):
                return {}
            place = f"'{name}' at {host or 'the local socket'}:{port}"
            note(f"database {place}, not through Django")
            error = OperationalError(
                f"it connects to database {place} without Django, which the rehearsal does not "
                "allow"
            )
            raise marked(error, limits.PAST_DJANGO)

        look_at(look)

    def _is_ours(self, host: str, port: str) -> bool:
        return self.production.is_at(host, port) or self.copy.is_at(host, port)

    def _url(self, text: str) -> str:
        """The address of the copy for that of production; any other one as it is."""
        production, copy = self.production, self.copy
        with suppress(ValueError):
            url = urlsplit(text)
            port = str(url.port or DEFAULT_PORT)
            there = unquote(url.path[1:]) == production.name
            if there and production.is_at(unquote(url.hostname or ""), port):
                place = url.netloc
                if copy.port != port:
                    place = f"{re.sub(r':[0-9]*$', '', place)}:{copy.port}"
                return urlunsplit(url._replace(netloc=place, path=f"/{copy.name}"))
        return text
