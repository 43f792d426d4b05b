"""postdo_serving/answers.py: who reads an answer slowly holds no thread, and gets all of it."""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gunicorns import Server, serving
from waiting import until

# More than the kernel keeps of an answer that nobody reads.
SIZE = 16 * 1024 * 1024

SITE = """
import os, random, time

SIZE = 16 * 1024 * 1024
CONTENT = random.Random(1).randbytes(SIZE)
with open("content", "wb") as file:
    file.write(CONTENT)


def application(environ, start_response):
    path = environ["PATH_INFO"]
    headers = [("Content-Length", str(SIZE))]
    if path == "/open":
        links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
        names = [os.readlink(link) for link in links if os.path.islink(link)]
        kept = [name for name in names if name.startswith(os.environ["POSTDO_UPLOADS"])]
        start_response("200 OK", [])
        return [str(len(kept)).encode()]
    if path == "/page":
        start_response("200 OK", headers)
        return [CONTENT]
    if path == "/pieces":
        start_response("200 OK", [])
        return (CONTENT[at : at + 50_000] for at in range(0, SIZE, 50_000))
    if path == "/breaks":
        start_response("200 OK", headers)
        return broken()
    if path == "/events":
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return events()
    if path == "/file":
        start_response("200 OK", headers)
        return environ["wsgi.file_wrapper"](open("content", "rb"))
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


def events():
    yield CONTENT
    while not os.path.exists("happened"):
        time.sleep(0.05)
    yield b"news"


def broken():
    yield CONTENT[: SIZE // 2]
    raise RuntimeError("half-way")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A site of two threads, with room for all the answers here."""
    with started(tmp_path_factory.mktemp("site"), "20MB") as server:
        yield server


@contextmanager
def started(folder: Path, largest: str) -> Iterator[Server]:
    """The site, with room for twenty answers of that size."""
    (folder / "app.py").write_text(SITE)
    (folder / "uploads").mkdir()
    with serving(
        folder,
        WEB_CONCURRENCY="1",
        POSTDO_UPLOADS=str(folder / "uploads"),
        MAX_REQUEST_BODY=largest,
        WEB_TIMEOUT="20",
    ) as server:
        yield server


class Reader:
    """A client that asks, and reads when it is told to."""

    def __init__(self, site: Server, path: str) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(30)
        self.socket.connect(("127.0.0.1", site.port))
        self.ask(path)

    def ask(self, path: str) -> None:
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def read(self) -> bytes:
        answer = http.client.HTTPResponse(self.socket)
        answer.begin()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024 * 1024)
        return answer.read()


def content() -> str:
    """What the site sends, as `digest` tells it."""
    return digest(random.Random(1).randbytes(SIZE))  # noqa: S311


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def kept(site: Server) -> int:
    """How many answers are on disk."""
    return int(site.get("/open")[1])


@pytest.mark.parametrize("path", ["/page", "/pieces", "/file"])
def test_slow_readers_keep_nobody_waiting_and_get_all(site: Server, path: str) -> None:
    """Four times as many as there are threads."""
    readers = [Reader(site, path) for _ in range(8)]

    for _ in range(4):
        assert site.get("/first") == (200, b"ok")
    assert {digest(reader.read()) for reader in readers} == {content()}
    for reader in readers:
        reader.ask("/first")
        assert reader.read() == b"ok", "the connection is as good as before"
    until(lambda: kept(site) == 0, "what was kept is removed")


def test_an_event_does_not_wait_for_the_next_one(tmp_path: Path) -> None:
    with started(tmp_path, "20MB") as server:
        reader = Reader(server, "/events")
        answer = http.client.HTTPResponse(reader.socket)
        answer.begin()

        assert digest(answer.read(SIZE)) == content()

        (tmp_path / "happened").touch()
        assert answer.read() == b"news"


def test_of_a_reader_that_leaves_nothing_is_kept(site: Server) -> None:
    reader = Reader(site, "/page")
    until(lambda: kept(site) == 1, "the rest is kept")

    reader.socket.close()

    until(lambda: kept(site) == 0, "what was kept is removed")


def test_an_answer_that_breaks_off_is_not_whole(site: Server) -> None:
    reader = Reader(site, "/breaks")

    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        reader.read()
    until(lambda: kept(site) == 0, "what was kept is removed")


def test_without_room_a_reader_gets_all_the_same(tmp_path: Path) -> None:
    """The thread waits, as it does in Gunicorn."""
    with started(tmp_path, "1MB") as server:
        for path in ("/page", "/pieces"):
            assert digest(Reader(server, path).read()) == content()
        assert kept(server) == 0


def test_a_stop_lets_a_slow_reader_finish(tmp_path: Path) -> None:
    with started(tmp_path, "20MB") as server:
        reader = Reader(server, "/page")
        until(lambda: kept(server) == 1, "the rest is kept")

        os.kill(server.process.pid, signal.SIGTERM)

        assert digest(reader.read()) == content()
        reader.socket.close()
        assert server.process.wait(30) == 0
