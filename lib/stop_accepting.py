"""Have a process accept no more connections: `python -I -S - PID`. It keeps those that it has.

`run.sh` feeds this to the Python of a container that may do this to the processes of the proxy's.
What ends a server on Go, as Caddy does, closes each connection whose first request it has not read
yet. So the listening sockets of the Caddy that is to end are shut down first: from then on the one
that takes over, which listens at the same ports, gets the new connections, and with
net.ipv4.tcp_migrate_req also those that nobody has accepted yet.

Only sockets that other machines reach; the health check's stays.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
from pathlib import Path

PIDFD_GETFD = 438  # of every architecture
LOOPBACK = "127."


def main(pid: int) -> int:
    """Exit code 0: done; 1: the kernel does not allow it, or the process has no such socket."""
    process = os.pidfd_open(pid)
    ports = set()
    for descriptor in sockets_of(pid):
        with taken(process, descriptor) as one:
            if is_public_listener(one):
                ports.add(one.getsockname()[1])
                one.shutdown(socket.SHUT_RD)
    print("no longer accepted at ports", *sorted(ports))
    return 0 if ports else 1


def sockets_of(pid: int) -> list[int]:
    """Descriptors of that process."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = path.readlink().name
        except FileNotFoundError:  # closed meanwhile
            continue
        if target.startswith("socket:"):
            found.append(int(path.name))
    return found


def taken(process: int, descriptor: int) -> socket.socket:
    """The same socket, as one of ours; another one if it was closed meanwhile."""
    libc = ctypes.CDLL(None, use_errno=True)
    got = libc.syscall(PIDFD_GETFD, process, descriptor, 0)
    if got >= 0:
        return socket.socket(fileno=got)
    if ctypes.get_errno() != errno.EBADF:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return socket.socket()


def is_public_listener(one: socket.socket) -> bool:
    """Whether it waits for connections, and not from its own machine alone."""
    return (
        one.family in (socket.AF_INET, socket.AF_INET6)
        and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        and not one.getsockname()[0].startswith(LOOPBACK)
    )


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
