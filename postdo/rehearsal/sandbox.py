"""Close the worker process to the network, programs, files and mail during a rehearsal.

Migrations are arbitrary Python code, so the limits have to hold without their cooperation:

- Python's audit hook (sys.addaudithook) sees each socket, each subprocess and each file that Python
  code opens, and raises an error. It cannot be removed again, which is why only the worker process
  installs it.
- Changes of files by Python's own functions are not refused but redirected (``sandbox_files``), and
  reported in the plan.
- C libraries do not pass the audit hook. On Linux the kernel closes the file system for them
  (``landlock``).
- Django's mail goes to a backend that only counts recipients, and caches outside the process are
  replaced by empty ones.

Whatever was attempted is noted in ``Outside``, so that the plan can show it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.cache.backends.locmem import LocMemCache
from django.core.files.storage import FileSystemStorage, storages
from django.core.mail.backends.base import BaseEmailBackend
from django.utils.module_loading import import_string

from postdo.rehearsal import landlock, limits
from postdo.rehearsal.file_changes import FileChange, FileChanges
from postdo.rehearsal.limits import marked
from postdo.rehearsal.sandbox_files import WRITING, SideFiles

NO_NETWORK = "the network is closed in the rehearsal"
NO_PROGRAMS = "no other program can be run in the rehearsal"
NO_OTHER_DRIVER = "the database server is closed in the rehearsal to all but Django's own driver"
NO_FILES = "the rehearsal cannot change files outside its own folder"
NO_LANDLOCK = (
    "this kernel has no Landlock: during the rehearsal, Python code could not change files, but a "
    "C library could"
)
NOT_FILES = ("/dev/", "/proc/", "pipe:", "socket:")  # the kernel decides
STORAGE = "django.core.files.storage.FileSystemStorage"
OWN = "postdo.rehearsal.sandbox"
LOCAL_CACHES = tuple(f"django.core.cache.backends.{one}" for one in ("locmem", "dummy", "db"))
SOCKET_FILE = ".s.PGSQL."  # in the name of a PostgreSQL server's socket
MOST_NOTES = 50  # one per address; more say nothing new


class Outside:
    """What was tried beyond the database, each thing once, in the order of the first try."""

    def __init__(self) -> None:
        self._notes: dict[str, None] = {}
        self._recipients = 0
        self._files = FileChanges("")
        self._process = os.getpid()
        self._told = -1  # where children that a migration forks write what they would note

    def begin(self, folder: str) -> None:
        """Prepare, in the worker's process, before anything is noted. ``folder``: its own."""
        self._files = FileChanges(os.getcwd())
        self._process = os.getpid()
        file, path = tempfile.mkstemp(dir=folder)
        os.close(file)
        self._told = os.open(path, os.O_RDWR | os.O_APPEND)
        os.unlink(path)

    def note(self, text: str) -> None:
        """Note one thing, such as ``network api.example.com:443``."""
        if not self._is_told("note", text) and len(self._notes) < MOST_NOTES:
            self._notes[text] = None

    def mail(self, recipients: int) -> None:
        """Note a mail to so many recipients."""
        if not self._is_told("mail", recipients):
            self._recipients += recipients

    def changed(self, verb: str, path: str, to: str = "") -> None:
        """Note what is done to a file, see ``FileChanges.note``."""
        if not (_is_logging() or self._is_told("changed", verb, path, to)):
            self._files.note(verb, path, to)

    @property
    def notes(self) -> tuple[str, ...]:
        """Everything except files, for ``Rehearsal.outside``."""
        self._hear()
        people = "1 recipient" if self._recipients == 1 else f"{self._recipients} recipients"
        mail = (f"mail to {people}",) if self._recipients else ()
        return (*mail, *self._notes)

    @property
    def files(self) -> tuple[FileChange, ...]:
        """What was done to files, for ``Rehearsal.files``."""
        self._hear()
        return self._files.found

    def _is_told(self, what: str, *values: object) -> bool:
        """Whether this is a child, whose parent is to note it."""
        if os.getpid() == self._process or self._told < 0:
            return False
        os.write(self._told, json.dumps([what, *values]).encode() + b"\n")
        return True

    def _hear(self) -> None:
        if self._told < 0:
            return
        os.lseek(self._told, 0, os.SEEK_SET)
        with open(os.dup(self._told), "rb") as told:
            lines = told.readlines()
        os.truncate(self._told, 0)
        for what, *values in map(json.loads, lines):
            getattr(self, what)(*values)


def _is_logging() -> bool:
    """Whether it is a log that is written: that says nothing of the migration."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] == "logging":
            return True
        frame = frame.f_back
    return False


OUTSIDE = Outside()


class CountedMail(BaseEmailBackend):
    """A mail backend that sends nothing and counts the recipients. It accepts any options."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def send_messages(self, email_messages: Sequence[Any]) -> int:
        """Count the recipients; returns how many messages there were, as if they were sent."""
        OUTSIDE.mail(sum(len(message.recipients()) for message in email_messages))
        return len(email_messages)


class OwnCache(LocMemCache):
    """An empty cache in this process. It also has the methods that django-redis adds to Django's.

    An empty cache is always allowed to happen, so a migration must cope with it.
    """

    def delete_pattern(self, *_: object, **__: object) -> int:
        """Delete nothing: nobody reads what is left."""
        self.clear()
        return 0

    def keys(self, *_: object, **__: object) -> list[str]:
        """No keys: nobody else has set any."""
        return []

    iter_keys = keys

    def ttl(self, *_: object, **__: object) -> int:
        """0, as for a key that expires at once."""
        return 0

    pttl = ttl

    def persist(self, *_: object, **__: object) -> bool:
        """``False``, as for a key that does not exist."""
        return False

    expire = pexpire = expire_at = pexpire_at = persist

    def lock(self, *_: object, **__: object) -> AbstractContextManager[None]:
        """A lock that is always free."""
        return nullcontext()


def use_no_mail_and_files(folder: str) -> None:
    """Replace mail, caches and temporary files by the worker's own, in ``folder``.

    To be called before ``django.setup()``. Storages in folders stay as they are, see
    ``close_files``.
    """
    OUTSIDE.begin(folder)
    mailers = getattr(settings, "MAILERS", None)  # Django 6.1 and newer
    if mailers:
        settings.MAILERS = {alias: {"BACKEND": f"{OWN}.CountedMail"} for alias in mailers}
    else:
        settings.EMAIL_BACKEND = f"{OWN}.CountedMail"
    handler: Any = storages
    ours: dict[str, Any] = handler.backends
    ours.setdefault("default", {"BACKEND": STORAGE})
    for number, (alias, entry) in enumerate(ours.items()):
        if alias != "staticfiles" and not _is_folder(entry):
            # Such as S3, which cannot be read without the network.
            location = str(Path(folder) / f"storage-{number}")
            ours[alias] = {"BACKEND": STORAGE, "OPTIONS": {"location": location}}
    settings.CACHES = {
        alias: entry if _is_local(entry) else _own_cache(alias, entry)
        for alias, entry in settings.CACHES.items()
    }
    temporary = Path(folder) / "tmp"
    temporary.mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    sys.dont_write_bytecode = True


def _is_local(cache: Mapping[str, Any]) -> bool:
    """Whether it keeps what it has in this process, or in the copy."""
    return str(cache["BACKEND"]).startswith(LOCAL_CACHES)


def _own_cache(alias: str, cache: Mapping[str, Any]) -> dict[str, Any]:
    usual = {key: value for key, value in cache.items() if key not in ("BACKEND", "OPTIONS")}
    return {**usual, "BACKEND": f"{OWN}.OwnCache", "LOCATION": f"postdo-{alias}"}


def _is_folder(entry: Mapping[str, Any]) -> bool:
    with suppress(Exception):  # the project's own code, and some needs its apps first
        backend: Any = import_string(str(entry["BACKEND"]))
        return isinstance(backend, type) and issubclass(backend, FileSystemStorage)
    return False


def close_files(folder: str) -> str:
    """From now on files are written only below ``folder``; attempts elsewhere are noted.

    To be called when the project is set up, so that its logs are open. Returns what is not closed
    if the kernel cannot help; what Python code does is noted in any case.
    """
    side = SideFiles(folder, OUTSIDE.changed)
    side.install()
    _open_logs_aside()
    closed = landlock.restrict(folder)
    own = os.path.realpath(folder)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and side.is_opening():
            return
        for path, folder_fd in _written(event, arguments):
            where = _real_path(path, folder_fd)
            ours = where == own or where.startswith((own + os.sep, *NOT_FILES))
            if ours and not where.startswith(landlock.SEMAPHORES):
                continue
            OUTSIDE.changed("refused", where)
            raise marked(PermissionError(errno.EACCES, NO_FILES, where), limits.FILE)

    sys.addaudithook(hook)
    return "" if closed else NO_LANDLOCK


# Which arguments of an event name a file that it changes, each with that of the folder to which it
# is relative (-1: the current one). CPython's audit table, 3.10 to 3.14.
_WRITTEN = {
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, 3),),
    "os.setxattr": ((0, None),),
    "os.removexattr": ((0, None),),
    "os.truncate": ((0, None),),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
}


def _written(event: str, arguments: tuple[Any, ...]) -> list[tuple[Any, int]]:
    if event == "open":
        path, flags = arguments[0], arguments[2]
        return [(path, -1)] if isinstance(flags, int) and flags & WRITING else []
    places = _WRITTEN.get(event, ())
    return [(arguments[at], -1 if fd is None else arguments[fd]) for at, fd in places]


def _real_path(path: Any, folder_fd: int) -> str:
    """Of a path or an open file."""
    if isinstance(path, int):
        return os.path.realpath(f"/proc/self/fd/{path}")
    base = os.getcwd() if folder_fd < 0 else os.path.realpath(f"/proc/self/fd/{folder_fd}")
    parent, name = os.path.split(os.path.normpath(os.path.join(base, os.fsdecode(path))))
    return os.path.join(os.path.realpath(parent), name)


def _open_logs_aside() -> None:
    """Those that are opened only when they are written: they keep ``open`` as it was."""
    for reference in logging._handlerList:  # type: ignore[attr-defined]
        handler: Any = reference()
        if hasattr(handler, "_builtin_open"):
            handler._builtin_open = open


def close_network_and_programs(
    *, network: bool, hosts: tuple[str, ...], servers: frozenset[tuple[str, str]]
) -> None:
    """From now on connections and programs fail, and are noted.

    - ``network``: whether all of the network may be used. ``hosts``: ``host`` or ``host:port`` that
      may be reached all the same.
    - ``servers``: of the databases, whose names may be looked up; libpq connects by itself.

    Python's audit hook is asked before each action, whichever module is used; the events are those
    of CPython's audit table, 3.10 to 3.14.
    """
    _close_spawning()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        program = _PROGRAMS.get(event)
        if program is not None:
            OUTSIDE.note(f"program {_program_name(arguments[program])}")
            raise marked(OSError(NO_PROGRAMS), limits.PROGRAM)
        address = _address_of(event, arguments) if event.startswith("socket.") else None
        if address is None:
            return
        if address in servers or SOCKET_FILE in address[0]:
            if event not in _LOOKUPS:
                OUTSIDE.note("database at " + ":".join(part for part in address if part))
                raise marked(OSError(NO_OTHER_DRIVER), limits.PAST_DJANGO)
        elif not (network or is_named(address, hosts)):
            OUTSIDE.note("network " + ":".join(part for part in address if part))
            # As on a day on which nobody listens there: libraries know what to do then.
            raise marked(ConnectionRefusedError(NO_NETWORK), limits.NETWORK)

    sys.addaudithook(hook)


def is_named(address: tuple[str, str], hosts: tuple[str, ...]) -> bool:
    """Whether an address (name or number, and port) is one of ``hosts``."""
    for text in hosts:
        host, port = split_host(text)
        if port and address[1] and port != address[1]:
            continue
        if address[0] == host:
            return True
        if _is_number(address[0]):
            with suppress(OSError):
                if address[0] in {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}:
                    return True
    return False


def split_host(text: str) -> tuple[str, str]:
    """Split ``redis:6379`` or ``[::1]:80`` into host and port; the port may be missing."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or (":" in host and not host.endswith("]")):
        host, port = text, ""
    return host.strip("[]"), port


def _close_spawning() -> None:
    """multiprocessing starts a Python past ``subprocess``, which would know nothing of all this."""
    from multiprocessing import util  # noqa: PLC0415  few need it

    def spawn(path: Any, *_: object) -> int:
        OUTSIDE.note(f"program {_program_name(path)}")
        refused = OSError(f"{NO_PROGRAMS}; a forked process can (get_context('fork'))")
        raise marked(refused, limits.PROGRAM)

    util.spawnv_passfds = spawn  # type: ignore[assignment]


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
        path = os.fsdecode(address)
        ours = path.startswith(tempfile.gettempdir() + os.sep) or _is_logging()
        return None if ours else _pair(path, "")
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
