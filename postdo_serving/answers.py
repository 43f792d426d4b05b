"""An answer that its client is slow to take: the rest of it is sent without a thread.

Gunicorn's threads write with a call that waits for the client, so as many slow downloads as there
are threads would hold the site. Here a thread waits for a moment. Then what is left goes to a file
without a name, or stays in the file that it is from, and the worker's event loop sends it whenever
the client takes some.
"""

from __future__ import annotations

import os
import select
import socket
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, Any

from postdo_serving.bodies import RefusedError, Room

PATIENCE = 0.2  # seconds that a thread waits for the client, of all of one answer
IN_KERNEL = 256 * 1024  # bytes of one answer that wait in a socket; it would let them grow to 4 MB
AT_ONCE = 1024 * 1024  # bytes that the event loop sends to one client before it sees to others
# Seconds in which a client takes no byte at all. Long: the buffers on the way to a visitor hold
# megabytes, and are filled again only when a good part of them is empty.
SILENCE = 600.0
EVENTS = b"\r\ncontent-type: text/event-stream"  # server-sent events


@dataclass
class _Part:
    """Bytes of a file that is open as `descriptor`, from `offset` on."""

    descriptor: int
    offset: int
    size: int


class Rest:
    """What is left of one answer, in order."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._parts: deque[_Part] = deque()
        self._file: IO[bytes] | None = None
        self._size = 0  # of the file
        self._taken = 0  # of the room

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return bool(self._parts)

    def add(self, data: memoryview) -> None:
        """Keep these bytes. Raises `RefusedError` if there is no room for them."""
        if self._size + len(data) > self._room.limits.largest:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "a long answer")
        self._room.take(len(data))
        self._taken += len(data)
        try:
            if self._file is None:
                folder = self._room.limits.folder
                self._file = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115
            descriptor, end = self._file.fileno(), self._size
            while data:
                written = os.pwrite(descriptor, data, end)
                data, end = data[written:], end + written
        except OSError as error:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, f"no answer kept: {error}") from None
        if self._parts and self._parts[-1].descriptor == descriptor:
            self._parts[-1].size += end - self._size
        else:
            self._parts.append(_Part(descriptor, self._size, end - self._size))
        self._size = end

    def add_file(self, descriptor: int, offset: int, size: int) -> None:
        """Remember these bytes of a file, which may be closed afterwards."""
        if size > 0:
            self._parts.append(_Part(os.dup(descriptor), offset, size))

    def send(self, sock: socket.socket) -> None:
        """Send as much as the client takes now. The socket does not block. Raises OSError."""
        sent = 0
        while self._parts and sent < AT_ONCE:
            part = self._parts[0]
            try:
                size = os.sendfile(sock.fileno(), part.descriptor, part.offset, part.size)
            except BlockingIOError:
                return
            if size == 0:
                raise ConnectionAbortedError("a file has become shorter while it was sent")
            sent += size
            part.offset += size
            part.size -= size
            if part.size == 0:
                self._close(self._parts.popleft())
        if not self._parts:
            self.close()

    def close(self) -> None:
        """Let go of the files, and of the room."""
        while self._parts:
            self._close(self._parts.popleft())
        if self._file is not None:
            self._file.close()
            self._file = None
        self._room.give_back(self._taken)
        self._size = self._taken = 0

    def _close(self, part: _Part) -> None:
        if self._file is None or part.descriptor != self._file.fileno():
            os.close(part.descriptor)


class Outlet:
    """A client's socket, as an answer is written to it: a slow client gets the rest later."""

    def __init__(self, sock: socket.socket, room: Room) -> None:
        self.socket = sock
        self.rest = Rest(room)
        self._patience = PATIENCE
        self._has_headers = False
        self._sends_events = False

    def __getattr__(self, name: str) -> Any:
        """Whatever else is asked of a socket."""
        return getattr(self.socket, name)

    def sendall(self, data: bytes) -> None:
        """Send, or keep what the client does not take."""
        left = memoryview(data)
        if not self._has_headers:  # Gunicorn sends them first, and in one piece
            self._has_headers = True
            self._sends_events = EVENTS in data.lower()
        if self._sends_events:
            # Its view holds a thread anyway, and what is kept would wait for the next event.
            self.socket.sendall(left)
            return
        self._send_rest()
        while left and not self.rest:
            try:
                left = left[self.socket.send(left, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                if not self._wait():
                    break
        if left:
            try:
                self.rest.add(left)
            except RefusedError:
                self._send_all_of_rest()
                self.socket.sendall(left)

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int = 0) -> None:
        """Send this part of a file, or remember what the client does not take."""
        self._send_rest()
        self.rest.add_file(file.fileno(), offset, count)
        self._send_rest()
        while self.rest and self._wait():
            self._send_rest()

    def _send_rest(self) -> None:
        if self.rest:
            self.socket.setblocking(False)
            try:
                self.rest.send(self.socket)
            finally:
                self.socket.setblocking(True)

    def _send_all_of_rest(self) -> None:
        """Hold the thread until the client has taken it, since there is no room for more."""
        while self.rest:
            if not _takes_more(self.socket, SILENCE):
                raise BrokenPipeError("the client takes nothing")
            self._send_rest()

    def _wait(self) -> bool:
        """Wait for the client as long as there is patience. False: it takes nothing."""
        if self._patience <= 0:
            return False
        began = time.monotonic()
        takes_more = _takes_more(self.socket, self._patience)
        self._patience -= time.monotonic() - began
        return takes_more


def _takes_more(sock: socket.socket, seconds: float) -> bool:
    waiting = select.poll()
    waiting.register(sock, select.POLLOUT)
    return bool(waiting.poll(seconds * 1000))
