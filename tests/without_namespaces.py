"""Be a place where root may make no user namespace: what Docker's default comes to.

python without_namespaces.py

Makes a user namespace with the 65536 uids that a container has, in which the limit of further
namespaces is 0; prints the pid to enter it by (`nsenter --user --target PID`), and lives until
its standard input ends. Needs root. Written out, because util-linux's unshare wants newuidmap for
a range of ids, which a bare machine does not have.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000  # include/uapi/linux/sched.h


def main() -> None:
    ours, theirs = os.pipe(), os.pipe()
    child = os.fork()
    if child:
        _map_ids(child, ours[0], theirs[1])
        return
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
        sys.exit(f"unshare: {os.strerror(ctypes.get_errno())}")
    os.write(ours[1], b"u")
    os.read(theirs[0], 1)
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    print(os.getpid(), flush=True)
    sys.stdin.read()


def _map_ids(child: int, unshared: int, mapped: int) -> None:
    """The parent's part: only it may give the child's namespace a whole range of ids."""
    os.read(unshared, 1)
    for table in ("uid_map", "gid_map"):
        Path(f"/proc/{child}/{table}").write_text("0 0 65536")
    os.write(mapped, b"m")
    os.waitpid(child, 0)


main()
