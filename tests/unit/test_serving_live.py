"""The server of WebSockets and other streams, as a process, with a small ASGI application."""

from __future__ import annotations

import asyncio
import errno
import re
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from projects import REPOSITORY
from waiting import PATIENCE_SECONDS, until

from bench import websocket
from postdo_serving import live
from postdo_serving.clients import Proxies

HEADERS = {"Host": "localhost"}
SETTINGS = 'SECRET_KEY = "for a test"\nASGI_APPLICATION = "app.application"\n'
# "hello" comes at once. A stream ends when it is told to; a WebSocket says which address it sees.
APPLICATION = """
async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": f"{scope['client'][0]} {scope['scheme']}"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
    elif scope["type"] == "http":
        head = {"type": "http.response.start", "status": 200}
        await send({**head, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"data: hello\\n\\n", "more_body": True})
        await scope["state"]["closing"].wait()
        await send({"type": "http.response.body", "body": b"data: bye\\n\\n"})
    else:
        raise NotImplementedError
"""


class Server:
    """The process, and the port that it listens on."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self.process = process

    async def socket(self, **headers: str) -> websocket.WebSocket:
        return await websocket.connect("127.0.0.1", self.port, "/", {**HEADERS, **headers})

    async def events(self) -> websocket.EventStream:
        return await websocket.connect_events("127.0.0.1", self.port, "/", HEADERS)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "settings.py").write_text(SETTINGS)
    (tmp_path / "app.py").write_text(APPLICATION)
    with socket.create_server(("127.0.0.1", 0)) as free:
        number: int = free.getsockname()[1]
    log = (tmp_path / "log").open("wb")
    with subprocess.Popen(
        [sys.executable, "-m", "postdo_serving.live", "127.0.0.1", str(number)],
        cwd=tmp_path,
        env={
            "DJANGO_SETTINGS_MODULE": "settings",
            "PYTHONPATH": str(REPOSITORY),
            "WEB_CONCURRENCY": "",  # of Gunicorn
        },
        stdout=log,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            until(lambda: accepts(number), "the server listens")
            yield Server(number, process)
        finally:
            process.kill()
            log.close()
            print((tmp_path / "log").read_text())


def accepts(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_when_it_ends_sockets_are_closed_for_a_restart_and_other_streams_end_whole(
    server: Server,
) -> None:
    async def watch() -> tuple[list[int | None], list[str | None]]:
        sockets = [await server.socket() for _ in range(20)]
        events = await server.events()
        for one in sockets:
            await one.receive()
        said = [await events.receive()]
        server.process.terminate()
        said += [await events.receive(), await events.receive()]
        for one in sockets:
            assert await one.receive() is None
        return [one.code for one in sockets] + [events.code], said

    codes, said = asyncio.run(watch())

    assert codes == [1012] * 20 + [websocket.WHOLE]
    assert said == ["hello", "bye", None]
    server.process.wait(live.END_SECONDS * 2)


def test_the_visitor_is_whom_the_proxy_names(server: Server) -> None:
    async def ask() -> str | None:
        headers = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
        return await (await server.socket(**headers)).receive()

    assert asyncio.run(ask()) == "203.0.113.7 wss"


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_nobody_else_says_who_the_visitor_is(kind: str) -> None:
    """Every user of the host, and every container beside this one, reaches its port."""
    seen: list[Any] = []

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope)

    told = [(b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", b"https")]
    told += [(b"forwarded", b"for=203.0.113.7"), (b"x-real-ip", b"203.0.113.7")]
    scheme = {"http": "http", "websocket": "ws"}[kind]
    scope = {"type": kind, "scheme": scheme, "headers": [(b"host", b"x"), *told]}
    named = live.NamedByTheProxy(application, Proxies({}))
    for address in ("192.0.2.9", "127.0.0.1"):
        asyncio.run(named({**scope, "client": (address, 1)}, None, None))

    stranger, proxy = seen
    assert stranger["headers"] == [(b"host", b"x")]
    assert (stranger["client"][0], stranger["scheme"]) == ("192.0.2.9", scheme)
    assert (proxy["client"][0], proxy["scheme"]) == ("203.0.113.7", f"{scheme}s")


def test_a_client_that_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STALLED_SECONDS", 1)
    with live.listen("127.0.0.1", 0) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        until(lambda: select.select([listener], [], [], 0)[0], "the connection arrives")
        accepted, _ = listener.accept()
        accepted.settimeout(PATIENCE_SECONDS)
        with accepted, pytest.raises(TimeoutError, match=re.escape(f"[Errno {errno.ETIMEDOUT}]")):
            accepted.sendall(bytes(100_000_000))
