"""A connection pooler as small as can be, that behaves as PgBouncer does towards its clients."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from projects import open_connection, query

SSL_REQUEST, GSS_REQUEST, STARTUP = 80877103, 80877104, 196608
PARAMETERS = {
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "integer_datetimes": "on",
    "DateStyle": "ISO, MDY",
    "TimeZone": "UTC",
}


class Pooler:
    """Listens on `port`; a client keeps its server session for as long as `mode` says."""

    def __init__(self, url: str, mode: str) -> None:
        self._url = url
        self._mode = mode
        ((version,),) = query(url, "SHOW server_version")
        self._parameters = {"server_version": version, **PARAMETERS}
        self._free: list[socket.socket] = []
        self._kept: list[Any] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        for connection in self._kept:
            with suppress(Exception):
                connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        with client, suppress(OSError, EOFError):
            if not self._greet(client):
                return
            while True:
                kind, message = _message(client)
                if kind == b"X":
                    break
                server = server or self._server()
                server.sendall(message)
                ended = kind in (b"Q", b"S") and self._answer(server, client) == b"I"
                if ended and self._mode == "transaction":
                    self._free.append(server)
                    server = None
        if server is not None:
            self._free.append(server)

    def _greet(self, client: socket.socket) -> bool:
        while True:
            (length,) = struct.unpack("!i", _exactly(client, 4))
            (code,) = struct.unpack("!i", _exactly(client, length - 4)[:4])
            if code in (SSL_REQUEST, GSS_REQUEST):
                client.sendall(b"N")
                continue
            if code != STARTUP:
                return False
            told = b"".join(
                _packed(b"S", f"{name}\0{value}\0".encode())
                for name, value in self._parameters.items()
            )
            made_up = _packed(b"K", struct.pack("!ii", 1_000_000 + client.fileno(), 7))
            client.sendall(_packed(b"R", b"\0\0\0\0") + told + made_up + _packed(b"Z", b"I"))
            return True

    def _answer(self, server: socket.socket, client: socket.socket) -> bytes:
        """Hand on what the server says, to its end; the state of the transaction."""
        while True:
            kind, message = _message(server)
            client.sendall(message)
            if kind == b"Z":
                return message[-1:]

    def _server(self) -> socket.socket:
        if self._free:
            return self._free.pop()  # the one that was used last, as PgBouncer does
        connection = open_connection(self._url)
        self._kept.append(connection)
        talk = socket.socket(fileno=os.dup(connection.fileno()))
        talk.setblocking(True)
        return talk


def _packed(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("!i", len(content) + 4) + content


def _exactly(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = source.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _message(source: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(source, 5)
    return head[:1], head + _exactly(source, struct.unpack("!i", head[1:])[0] - 4)


@contextmanager
def pooler(url: str, mode: str) -> Iterator[str]:
    """The URL of the same database through a pooler in this mode."""
    one = Pooler(url, mode)
    try:
        parts = urlsplit(url)
        yield parts._replace(
            netloc=f"{parts.username}:{parts.password}@127.0.0.1:{one.port}"
        ).geturl()
    finally:
        one.close()
