"""The body of a request, received whole before the application is called.

WSGI applications read CONTENT_LENGTH bytes, so a body in chunks would arrive empty: its length is
known once it is here. Small bodies stay in memory, others go to a file without a name, which the
kernel removes with the process, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from threading import BoundedSemaphore, Lock
from typing import IO, Any

from gunicorn.http.errors import NoMoreData

DELIVERED_WHOLE = 64 * 1024  # bytes of a body that the proxy reads first (request_buffers)
IN_MEMORY = 64 * 1024  # bytes of one body; 256 receivers, so at most 16 MB in a process
PIECE = 64 * 1024
STEP = 1024 * 1024  # bytes of the disk that are set aside at a time
LARGEST_BODIES = 20  # how many of the largest size all processes together have room for
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}  # as Caddy counts them


class RefusedError(Exception):
    """A request that the application never sees. Its text is for the log."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(f"refused with {status.value}: {reason}")
        self.status = status

    def answer(self) -> bytes:
        """Return the whole HTTP answer. A 503 has Retry-After, since nothing has been done yet."""
        page = f"<!doctype html><title>{self.status.phrase}</title><h1>{self.status.phrase}</h1>\n"
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            "Content-Type: text/html; charset=utf-8",
            f"Content-Length: {len(page)}",
            "Connection: close",
        ]
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            lines.append("Retry-After: 5")
        return "\r\n".join([*lines, "", page]).encode()


@dataclass(frozen=True)
class Limits:
    """What one process accepts.

    - largest: bytes of one body. together: bytes of all bodies at a time.
    - processes: how many share the disk.
    - silence: seconds without a byte after which a client is dropped.
    - folder: where bodies are stored that do not fit into memory.
    """

    largest: int
    together: int
    processes: int
    silence: float
    folder: str


def limits(environment: Mapping[str, str], processes: int) -> Limits:
    """Return the limits of one of ``processes`` processes: MAX_REQUEST_BODY, WEB_TIMEOUT."""
    largest = size(environment.get("MAX_REQUEST_BODY") or "100MB")
    return Limits(
        largest=largest,
        together=(largest + STEP) * max(1, LARGEST_BODIES // processes),
        processes=processes,
        silence=float(environment.get("WEB_TIMEOUT") or "30"),
        folder=folder(environment),
    )


def folder(environment: Mapping[str, str]) -> str:
    """Return POSTDO_UPLOADS, a folder on disk; without it, Python's folder for temporary files."""
    asked = environment.get("POSTDO_UPLOADS", "")
    return asked if os.access(asked, os.W_OK) else tempfile.gettempdir()


def size(text: str) -> int:
    """Return the bytes of a size such as 100MB. Raises ValueError for anything else."""
    found = re.fullmatch(r"([0-9]+)(KB|MB|GB)", text)
    if not found:
        raise ValueError(f"MAX_REQUEST_BODY is {text!r}; set it in .env to a size such as 100MB")
    return int(found[1]) * UNITS[found[2]]


class Room:
    """The disk space for bodies: at most this process's share, and half of what is free."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._taken = 0
        self._lock = Lock()

    def take(self, size: int) -> None:
        """Reserve `size` bytes. Raises `RefusedError` if they are not available."""
        with self._lock:
            disk = os.statvfs(self.limits.folder)
            free = disk.f_bavail * disk.f_frsize
            most = min(self.limits.together, free // 2 // self.limits.processes)
            if self._taken + size > most:
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many uploads at once")
            self._taken += size

    def give_back(self, size: int) -> None:
        """Release reserved bytes."""
        with self._lock:
            self._taken -= size


@contextlib.contextmanager
def received(req: Any, sock: Any, room: Room, turns: BoundedSemaphore) -> Iterator[None]:
    """Give the request its whole body, as a file, and its length, inside the block.

    `turns` limits how many bodies arrive at once; one that the proxy has whole already needs no
    turn. Raises `RefusedError`, NoMoreData if the client left, and Gunicorn's own errors for
    malformed chunks.
    """
    length = announced(req)
    if length == 0:
        yield
        return
    if length is not None and length > room.limits.largest:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body of {length} bytes")
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(tempfile.SpooledTemporaryFile(IN_MEMORY, dir=room.limits.folder))
        share = stack.enter_context(_Share(room))
        with _turn(turns, length):
            _receive(req, sock, file, share, length)
        yield


@contextlib.contextmanager
def _turn(turns: BoundedSemaphore, length: int | None) -> Iterator[None]:
    if length is not None and length <= DELIVERED_WHOLE:
        yield
        return
    if not turns.acquire(blocking=False):
        raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many uploads at once")
    try:
        yield
    finally:
        turns.release()


def announced(req: Any) -> int | None:
    """Return the length of the body as the headers state it; None if it comes in chunks."""
    length = 0
    for name, value in req.headers:
        if name == "TRANSFER-ENCODING":
            return None
        if name == "CONTENT-LENGTH":
            length = int(value)
    return length


class _Share:
    """What one body takes of the room; given back when it is done with."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.size = 0

    def __enter__(self) -> _Share:
        return self

    def __exit__(self, *_: object) -> None:
        self.room.give_back(self.size)

    def grow_to(self, size: int) -> None:
        """Take what is missing to `size` bytes; small bodies are in memory and take nothing."""
        if size <= max(self.size, IN_MEMORY):
            return
        size = -(-size // STEP) * STEP
        self.room.take(size - self.size)
        self.size = size


def _receive(req: Any, sock: Any, file: IO[bytes], share: _Share, length: int | None) -> None:
    limits = share.room.limits
    share.grow_to(length or 0)
    _invite(req, sock)
    sock.settimeout(limits.silence)
    size = 0
    try:
        while piece := _next_piece(req):
            size += len(piece)
            if size > limits.largest:
                raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too many chunks")
            share.grow_to(size)
            _keep(file, piece)
    finally:
        sock.setblocking(True)
    if length is not None and size < length:
        raise NoMoreData
    file.seek(0)
    _state_length(req, file, size)


def _invite(req: Any, sock: Any) -> None:
    """Answer Expect: 100-continue, which Gunicorn would do when it calls the application."""
    if getattr(req, "_expected_100_continue", False):
        req._expected_100_continue = False
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def _next_piece(req: Any) -> bytes:
    try:
        return bytes(req.body.read(PIECE))
    except TimeoutError:
        raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "the client stopped sending") from None
    except ConnectionError:
        raise NoMoreData from None


def _keep(file: IO[bytes], piece: bytes) -> None:
    try:
        file.write(piece)
    except OSError as error:
        raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, f"cannot keep a body: {error}") from None


def _state_length(req: Any, file: IO[bytes], size: int) -> None:
    """Make the request what it would be with this body in one piece."""
    framing = ("CONTENT-LENGTH", "TRANSFER-ENCODING", "TRAILER")
    req.headers = [field for field in req.headers if field[0] not in framing]
    req.headers.append(("CONTENT-LENGTH", str(size)))
    req.body = file
