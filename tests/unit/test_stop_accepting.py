"""A server that keeps its connections, and gets no new ones: what lib/proxy.sh does to a Caddy."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from projects import REPOSITORY

SCRIPT = (REPOSITORY / "lib/stop_accepting.py").read_text()
# It answers each connection with what it read, and says at which ports it waits. Any process may
# look into it (PR_SET_PTRACER), as the container that runs the script in earnest may.
SERVER = """
import ctypes, socket, sys, threading
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)
def serve(one):
    while True:
        try:
            visitor, _ = one.accept()
        except OSError:
            return
        threading.Thread(target=lambda: visitor.sendall(visitor.recv(99))).start()
waiting = [socket.create_server((host, 0)) for host in sys.argv[1:]]
for one in waiting:
    threading.Thread(target=serve, args=(one,)).start()
print(*(one.getsockname()[1] for one in waiting), flush=True)
"""


@contextmanager
def server(*hosts: str) -> Iterator[tuple[int, list[int]]]:
    """A process that listens there: its pid, and the ports."""
    argv = [sys.executable, "-c", SERVER, *hosts]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, [int(port) for port in process.stdout.readline().split()]
        finally:
            process.kill()


def stop_accepting(pid: int) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-I", "-S", "-", str(pid)]
    return subprocess.run(
        argv, input=SCRIPT, capture_output=True, text=True, timeout=60, check=False
    )


def echoes(connection: socket.socket) -> bool:
    connection.sendall(b"here")
    return connection.recv(99) == b"here"


def accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            return echoes(connection)
    except ConnectionError:
        return False


def test_a_connection_that_it_has_is_served_and_a_new_one_is_not() -> None:
    with (
        server("0.0.0.0", "127.0.0.1") as (pid, (public, own)),  # noqa: S104
        socket.create_connection(("127.0.0.1", public), 30) as before,
    ):
        done = stop_accepting(pid)

        assert (done.returncode, done.stdout) == (0, f"no longer accepted at ports {public}\n"), (
            done
        )
        assert not accepts(public)
        assert accepts(own), "the health check's"
        assert echoes(before)


def test_where_there_is_nothing_to_stop_it_has_failed() -> None:
    with server("127.0.0.1") as (pid, (own,)):
        assert stop_accepting(pid).returncode == 1
        assert accepts(own)
