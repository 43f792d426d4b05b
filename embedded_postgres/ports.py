"""TCP ports of this machine: is one free, and if not, who has it?"""

from __future__ import annotations

import pwd
import socket
from pathlib import Path

from .errors import EmbeddedPostgresError, Misconfigured

LOOPBACK = "127.0.0.1"
HIGHEST_PORT = 65535
LISTENING = "0A"  # TCP_LISTEN in /proc/net/tcp (include/net/tcp_states.h)


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on now (somebody may a moment later)."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def require_valid(port: int) -> None:
    """Raise Misconfigured unless PostgreSQL can be given this port."""
    if not 1 <= port <= HIGHEST_PORT:
        raise Misconfigured(
            f"{port} is not a TCP port",
            f"Set DEV_DB_PORT in .env to a number from 1 to {HIGHEST_PORT}",
        )


def require_free(port: int) -> None:
    """Raise unless a server can listen on 127.0.0.1:`port`; the error names who has it."""
    if is_free(port):
        return
    raise EmbeddedPostgresError(
        f"Port {port} on {LOOPBACK} is taken by {holder(port) or 'another process'}",
        "Stop it, or set DEV_DB_PORT in .env to a free port",
    )


def is_free(port: int) -> bool:
    """Whether 127.0.0.1:`port` can be bound, the way PostgreSQL binds it.

    Raises Misconfigured if this user may not bind it (usually below 1024).
    """
    with socket.socket() as probe:
        # As PostgreSQL does: connections that linger in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except PermissionError as error:
            raise Misconfigured(
                f"This user may not listen on port {port}",
                "Set DEV_DB_PORT in .env to a port above 1023",
            ) from error
        except OSError:
            return False
        return True


def holder(port: int) -> str | None:
    """The process that listens on `port`, as "name (pid 123, in /its/folder)".

    Only its user ("a process of www-data") if the rest is hidden from us; None if nothing can be
    found out (not Linux). Reads /proc only.
    """
    owners = _listening(port)
    for process in Path("/proc").glob("[0-9]*") if owners else ():
        try:
            links = {str(link.readlink()) for link in (process / "fd").iterdir()}
        except OSError:
            continue
        if any(f"socket:[{inode}]" in links for inode in owners):
            return _describe(process)
    return next((f"a process of {_user_name(uid)}" for uid in owners.values()), None)


def _listening(port: int) -> dict[str, int]:
    """The sockets that listen on `port`: the inode of each, and the uid of its owner."""
    owners = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            # sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …
            fields = line.split()
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                owners[fields[9]] = int(fields[7])
    return owners


def _user_name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"uid {uid}"


def _describe(process: Path) -> str:
    try:
        name = (process / "comm").read_text().strip()
        folder = (process / "cwd").readlink()
    except OSError:
        return f"the process with pid {process.name}"
    return f"{name} (pid {process.name}, in {folder})"
