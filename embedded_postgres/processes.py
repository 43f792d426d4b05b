"""The server's processes: which are there, and are they really of this data folder?

A pid in a file proves nothing: after a crash it may be somebody else's by now. A process is the
cluster's only if it is a `postgres` whose working folder is the data folder (the postmaster goes
there first, and its children stay), as the kernel tells in /proc. Nothing else is ever signalled.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from .privileges import Identity

PID_FILE_LINES = 8  # src/include/utils/pidfile.h, PostgreSQL 10 and later
KNOWS_PROC = sys.platform == "linux"


@dataclass(frozen=True)
class Postmaster:
    """The content of postmaster.pid: `pid`, TCP `port`, and whether the server is `ready`.

    It is ready when it accepts connections.
    """

    pid: int
    port: int
    ready: bool


def read_pid_file(data: Path) -> Postmaster | None:
    """The content of postmaster.pid; None if it is missing or only half written yet."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        return Postmaster(
            pid=int(lines[0]),
            port=int(lines[3]),
            ready=len(lines) >= PID_FILE_LINES and lines[7].strip() == "ready",
        )
    except (FileNotFoundError, IndexError, ValueError):
        return None


def is_ours(pid: int, data: Path, identity: Identity) -> bool:
    """Whether `pid` is alive and a postgres process of this data folder.

    Without /proc (macOS) only whether it is alive; the caller's locks and queries tell the rest.
    """
    if not KNOWS_PROC:
        return exists(pid)
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        if name != "postgres":
            return False
        folder = data.stat()
        return _working_folder(pid, identity) == (folder.st_dev, folder.st_ino)
    except OSError:  # ended, a zombie, or another user's
        return False


def members(data: Path, identity: Identity) -> list[int]:
    """All processes of this data folder's server, also orphans. Empty without /proc."""
    if not KNOWS_PROC:
        return []
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if is_ours(pid, data, identity)]


def kill(pid: int, data: Path, identity: Identity) -> None:
    """Send SIGKILL to one process if it belongs to the cluster."""
    if KNOWS_PROC and is_ours(pid, data, identity):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        except PermissionError:  # root without CAP_KILL; the process's own user may
            identity.run(["sh", "-c", 'kill -9 "$1"', "sh", str(pid)], seconds=10)


def exists(pid: int) -> bool:
    """Whether any process, also a zombie, has this pid now; PostgreSQL itself asks that."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _working_folder(pid: int, identity: Identity) -> tuple[int, int]:
    """Device and inode of a process's working folder. Raises OSError if it has none or hides it."""
    link = f"/proc/{pid}/cwd"
    try:
        folder = Path(link).stat()
    except PermissionError:
        # Root without CAP_SYS_PTRACE (a container's) may not look; the process's own user may.
        if identity.uid is None:
            raise
        status, text = identity.run(["stat", "-L", "-c", "%d %i", link], seconds=10)
        if status != 0:
            raise
        device, inode = text.split()
        return int(device), int(inode)
    return folder.st_dev, folder.st_ino
