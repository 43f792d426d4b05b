"""A proxy before a PostgreSQL that knows where one message of a client ends, and can stop there."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

STARTUP = 196608  # protocol 3.0; what comes before it (a wish for encryption) has other numbers
# What is to be done with a message: hand it on, drop it and the connection, or hand it on and drop
# the connection before the answer, or swallow it while the server's side stays open.
PASS, DROP, DROP_ANSWER, SWALLOW = "pass", "drop", "drop-answer", "swallow"

# Called with the number of the connection, of its message (both from 1), and its bytes.
Judge = Callable[[int, int, bytes], str]


def let_all_pass(_connection: int, _message: int, _data: bytes) -> str:
    return PASS


@dataclass
class Proxy:
    """`port`: where it listens. `judge` decides about each message after the startup.

    `counts`: messages per connection. `refuse`: whether new connections are turned away.
    """

    port: int
    server: int
    judge: Judge = let_all_pass
    refuse: bool = False
    counts: dict[int, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def begin(self, judge: Judge = let_all_pass) -> None:
        """Count from one again."""
        self.counts, self.judge, self.refuse = {}, judge, False

    def serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                if self.refuse:
                    client.close()
                    continue
                threading.Thread(target=self._connection, args=(client,), daemon=True).start()

    def _connection(self, client: socket.socket) -> None:
        with suppress(OSError):
            server = socket.create_connection(("127.0.0.1", self.server))
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_pump, args=(server, client), daemon=True).start()
            self._from_client(client, server)

    def _numbered(self) -> tuple[int, dict[int, int]]:
        """The number of a connection: by its startup, since anything on the machine may connect."""
        with self._lock:
            counts = self.counts
            number = len(counts) + 1
            counts[number] = 0
            return number, counts

    def _from_client(self, client: socket.socket, server: socket.socket) -> None:
        ends = [client, server]
        try:
            while True:
                data = _exactly(client, 8)
                length, code = struct.unpack("!II", data)
                server.sendall(data + _exactly(client, length - 8))
                if code == STARTUP:
                    break
            number, counts = self._numbered()
            while True:
                head = _exactly(client, 5)
                data = head + _exactly(client, struct.unpack("!I", head[1:])[0] - 4)
                counts[number] += 1
                what = self.judge(number, counts[number], data)
                if what == DROP_ANSWER:
                    _end(client)
                if what in (PASS, DROP_ANSWER):
                    server.sendall(data)
                if what == SWALLOW:
                    ends.remove(server)
                if what != PASS:
                    return
        except (OSError, EOFError):
            pass
        finally:
            for one in ends:
                _end(one)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def _exactly(source: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = source.recv(length - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    _end(target)


@contextmanager
def proxy_to(server: int) -> Iterator[Proxy]:
    """A proxy to the server at this port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Proxy(listener.getsockname()[1], server)
        threading.Thread(target=proxy.serve, args=(listener,), daemon=True).start()
        yield proxy
