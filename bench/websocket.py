"""Clients of WebSockets and server-sent events, as far as a bench and the tests need them.

By the standard library alone, so that nothing of the server's is tested with itself.
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import struct
from collections.abc import Mapping

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
FINAL = MASKED = 0x80
TWO_BYTES, EIGHT_BYTES = 126, 127  # which follow, and say the length
NO_CODE, CUT = 1005, 1006  # what stands for a close without a code, and for no close at all
SWITCHED, WHOLE = 101, 200  # statuses


class RefusedError(Exception):
    """The server has not switched to WebSockets; the status line."""


class WebSocket:
    """One connection. `code` is what it was closed with, None while it is open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The handshake is done."""
        self.reader = reader
        self.writer = writer
        self.code: int | None = None

    async def receive(self) -> str | None:
        """Return the next text, or None once it is closed. Pings are answered."""
        while self.code is None:
            try:
                kind, payload = await self._frame()
            except (OSError, asyncio.IncompleteReadError):
                kind, payload = CLOSE, struct.pack("!H", CUT)
            if kind == TEXT:
                return payload.decode()
            if kind == PING:
                self._send(PONG, payload)
            elif kind == CLOSE:
                self.code = struct.unpack("!H", payload[:2])[0] if payload else NO_CODE
                self._send(CLOSE, payload[:2])
                self.writer.close()
        return None

    def close(self) -> None:
        """Go, as a browser does whose page is closed."""
        self._send(CLOSE, struct.pack("!H", 1001))
        self.writer.close()

    async def _frame(self) -> tuple[int, bytes]:
        """Read one. Servers here send a message as one frame."""
        first, length = await self.reader.readexactly(2)
        if length == TWO_BYTES:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif length == EIGHT_BYTES:
            (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return first & 0x0F, await self.reader.readexactly(length)

    def _send(self, kind: int, payload: bytes) -> None:
        """Send a short frame, masked as a client's have to be."""
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        self.writer.write(bytes([FINAL | kind, MASKED | len(payload)]) + mask + masked)


class EventStream:
    """An answer of server-sent events. `code` is 200 once it has ended whole, CUT otherwise."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The head of the answer is read."""
        self.reader = reader
        self.writer = writer
        self.code: int | None = None
        self._text = ""

    async def receive(self) -> str | None:
        """Return the data of the next event, or None once it has ended."""
        while self.code is None:
            event, found, rest = self._text.partition("\n\n")
            if found:
                self._text = rest
                data = [line for line in event.split("\n") if line.startswith("data: ")]
                if data:
                    return data[0].removeprefix("data: ")
                continue
            try:
                size = int(await self.reader.readline(), 16)
                self._text += (await self.reader.readexactly(size + 2))[:-2].decode()
                if not size:
                    self.code = WHOLE
            except (OSError, ValueError, asyncio.IncompleteReadError):
                self.code = CUT
        self.writer.close()
        return None


async def connect(
    host: str, port: int, path: str, headers: Mapping[str, str], tls: ssl.SSLContext | None = None
) -> WebSocket:
    """Open a WebSocket. Raises OSError without a server, and RefusedError unless it is accepted."""
    wanted = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
        **headers,
    }
    return WebSocket(*await _ask((host, port), path, wanted, SWITCHED, tls))


async def connect_events(
    host: str, port: int, path: str, headers: Mapping[str, str], tls: ssl.SSLContext | None = None
) -> EventStream:
    """Ask for server-sent events, with the same errors."""
    wanted = {"Accept": "text/event-stream", **headers}
    return EventStream(*await _ask((host, port), path, wanted, WHOLE, tls))


async def _ask(
    address: tuple[str, int],
    path: str,
    headers: Mapping[str, str],
    expected: int,
    tls: ssl.SSLContext | None,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a GET, and read the head of its answer, which has to have that status."""
    name = headers["Host"].partition(":")[0] if tls else None
    reader, writer = await asyncio.open_connection(*address, ssl=tls, server_hostname=name)
    lines = [f"GET {path} HTTP/1.1", *(f"{key}: {value}" for key, value in headers.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        writer.close()
        raise ConnectionResetError("no answer") from error
    status = head.partition(b"\r\n")[0].decode()
    if int(status.split()[1]) != expected:
        writer.close()
        raise RefusedError(status)
    return reader, writer
