"""What a migration may not reach while it is rehearsed: the network, mail, programs, files.

All of it counts for the whole process and cannot be switched off again, so only the worker's
process calls it. A session with the database is libpq's own and needs no permission here.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.storage import FileSystemStorage, storages
from django.core.mail.backends.base import BaseEmailBackend
from django.db import DEFAULT_DB_ALIAS
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import OperationalError
from django.utils._os import safe_join

NO_NETWORK = "the network is closed in the rehearsal"
NO_PROGRAMS = "no other program can be run in the rehearsal"
NO_OTHER_DRIVER = "the database server is closed in the rehearsal to all but Django's own driver"
STORAGE = "django.core.files.storage.FileSystemStorage"
OWN = "postdo.rehearsing.isolation"
SOCKET_FILE = ".s.PGSQL."  # in the name of a PostgreSQL server's socket
CONNECTING = ("ENGINE", "HOST", "PORT", "NAME", "USER", "PASSWORD", "OPTIONS")
MOST_NOTES = 50  # one per address; more say nothing new


class Outside:
    """What was tried beyond the database, each thing once, in the order of the first try."""

    def __init__(self) -> None:
        self._notes: dict[str, None] = {}
        self._recipients = 0

    def note(self, text: str) -> None:
        """Remember one thing, such as ``network api.example.com:443``."""
        if len(self._notes) < MOST_NOTES:
            self._notes[text] = None

    def mail(self, recipients: int) -> None:
        """Remember a mail to this many."""
        self._recipients += recipients

    @property
    def notes(self) -> tuple[str, ...]:
        """All of it, for ``Rehearsal.outside``."""
        people = "1 recipient" if self._recipients == 1 else f"{self._recipients} recipients"
        mail = (f"mail to {people}",) if self._recipients else ()
        return (*mail, *self._notes)


OUTSIDE = Outside()


class CountedMail(BaseEmailBackend):
    """A mail backend that sends nothing and counts the recipients. Takes any backend's options."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def send_messages(self, email_messages: Sequence[Any]) -> int:
        OUTSIDE.mail(sum(len(message.recipients()) for message in email_messages))
        return len(email_messages)


class CopiedFiles(FileSystemStorage):
    """Files in a folder of our own; one of the site's that is asked for is copied there first."""

    def __init__(self, location: str, site: str, base_url: str | None = None) -> None:
        super().__init__(location=location, base_url=base_url)
        self._site = site
        self._deleted: set[str] = set()

    def path(self, name: str) -> str:
        here = Path(super().path(name))
        there = Path(safe_join(self._site, name))
        if name not in self._deleted and not here.exists() and there.is_file():
            here.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(there, here)
        return str(here)

    def delete(self, name: str) -> None:
        super().delete(name)
        self._deleted.add(name)


def use_database(name: str, port: int = 0) -> None:
    """Point the settings to this database of the project's server, and every other one to nothing.

    ``port``: of another server at the same address. To be called before ``django.setup()``. An
    alias for the same database goes with the default.
    """
    databases: dict[str, dict[str, Any]] = settings.DATABASES
    ours = dict(databases[DEFAULT_DB_ALIAS])
    place = {"NAME": name, "PORT": str(port or ours.get("PORT") or "")}
    for entry in databases.values():
        if _is_replica(entry):
            # Read where routers send reads; a write there fails, as it does on the real one.
            entry.update({key: ours.get(key) for key in CONNECTING if key in ours})
        if _address(entry) == _address(ours):
            options = dict(entry.get("OPTIONS") or {})
            for spare in ("pool", "dbname", "database"):
                options.pop(spare, None)
            entry.update(place, OPTIONS=options)
        else:
            # Behind the guard below nobody asks for it; a second reason why it is not the real one.
            closed = {"NAME": ":memory:", "HOST": "/closed", "PORT": "", "USER": "", "PASSWORD": ""}
            entry.update(closed, OPTIONS={})
    _guard_connections(place)


def _is_replica(entry: Mapping[str, Any]) -> bool:
    """Whether the settings say that it is a copy of the default one: Django's own word for it."""
    return bool((entry.get("TEST") or {}).get("MIRROR") == DEFAULT_DB_ALIAS)


def _address(entry: Mapping[str, Any]) -> tuple[str, ...]:
    service = (entry.get("OPTIONS") or {}).get("service", "")
    keys = ("ENGINE", "HOST", "PORT", "NAME")
    return (*(str(entry.get(key) or "") for key in keys), str(service))


def _guard_connections(place: Mapping[str, str]) -> None:
    connect: Callable[[BaseDatabaseWrapper], None] = BaseDatabaseWrapper.connect

    def guarded(wrapper: BaseDatabaseWrapper) -> None:
        if any(str(wrapper.settings_dict[key] or "") != value for key, value in place.items()):
            OUTSIDE.note(f"database {wrapper.alias}")
            raise OperationalError(f"the database '{wrapper.alias}' is closed in the rehearsal")
        connect(wrapper)

    BaseDatabaseWrapper.connect = guarded  # type: ignore[assignment,method-assign]


def use_no_mail_and_files(folder: str) -> None:
    """Count mail instead of sending it, and keep files in ``folder``. Before ``django.setup()``."""
    mailers = getattr(settings, "MAILERS", None)  # Django 6.1 and newer
    if mailers:
        settings.MAILERS = {alias: {"BACKEND": f"{OWN}.CountedMail"} for alias in mailers}
    else:
        settings.EMAIL_BACKEND = f"{OWN}.CountedMail"
    site: Any = settings.MEDIA_ROOT
    handler: Any = storages
    ours: dict[str, Any] = handler.backends
    settings.MEDIA_ROOT = folder
    ours.setdefault("default", {"BACKEND": STORAGE})
    for number, (alias, entry) in enumerate(ours.items()):
        name = str(entry["BACKEND"]).rpartition(".")[2]
        # A storage that is no folder (S3) cannot be read without the network.
        local = name == "FileSystemStorage"
        location = (entry.get("OPTIONS") or {}).get("location") or site
        if alias != "default" and not local:
            continue  # such as that of static files, which no migration writes
        own = folder if alias == "default" else str(Path(folder) / str(number))
        if local and location:
            options = {"location": own, "site": os.fspath(location)}
            ours[alias] = {"BACKEND": f"{OWN}.CopiedFiles", "OPTIONS": options}
        else:
            ours[alias] = {"BACKEND": STORAGE, "OPTIONS": {"location": own}}


def close_network_and_programs(*, network: bool, servers: frozenset[tuple[str, str]]) -> None:
    """From now on both fail with ``OSError``, and are noted. ``network``: whether it may be used.

    ``servers``: where the databases are. libpq gets there by itself, and may look up their names.
    Python asks the hook before it acts, whichever module is used. The events are those of
    CPython's audit table, 3.10 to 3.14.
    """

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        program = _PROGRAMS.get(event)
        if program is not None:
            OUTSIDE.note(f"program {_program_name(arguments[program])}")
            raise OSError(NO_PROGRAMS)
        address = _address_of(event, arguments) if event.startswith("socket.") else None
        if address is None:
            return
        if address in servers or SOCKET_FILE in address[0]:
            if event not in _LOOKUPS:
                OUTSIDE.note("database at " + ":".join(part for part in address if part))
                raise OSError(NO_OTHER_DRIVER)
        elif not network:
            OUTSIDE.note("network " + ":".join(part for part in address if part))
            raise OSError(NO_NETWORK)

    sys.addaudithook(hook)


# Which argument of the event names the program.
_PROGRAMS = {
    "subprocess.Popen": 0,
    "os.system": 0,
    "os.exec": 0,
    "os.posix_spawn": 0,
    "os.spawn": 1,
    "os.startfile": 0,
}


_LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname")


def _program_name(command: object) -> str:
    text = os.fsdecode(command) if isinstance(command, (str, bytes, os.PathLike)) else str(command)
    words = text.split()
    return Path(words[0]).name if words else "without a name"


def _address_of(event: str, arguments: tuple[Any, ...]) -> tuple[str, str] | None:
    """Where an event of ``socket`` goes, as (host, port); ``None`` if it stays on this machine."""
    if event in _LOOKUPS:
        host, port = arguments[0], (arguments[1] if len(arguments) > 1 else "")
        harmless = not host or host == socket.gethostname() or _is_number(host)
        return None if harmless else _pair(host, port)
    if event not in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        return None
    opened, address = arguments[0], arguments[1]
    if getattr(opened, "family", None) == getattr(socket, "AF_UNIX", -1):
        return _pair(address, "") if SOCKET_FILE in str(address) else None
    if address is None:
        return None
    return _pair(*address[:2]) if isinstance(address, tuple) else _pair(address, "")


def _pair(host: object, port: object) -> tuple[str, str]:
    name = host.decode(errors="replace") if isinstance(host, bytes) else str(host)
    return name, "" if port is None else str(port)


def _is_number(host: object) -> bool:
    """Whether it is an address already; then only ``connect`` goes anywhere."""
    name = host.decode(errors="replace") if isinstance(host, bytes) else str(host)
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, name)
        except (OSError, ValueError):
            continue
        return True
    return False
