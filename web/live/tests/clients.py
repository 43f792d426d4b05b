"""Clients of streams, and a stream whose rows are in memory. PostgreSQL tells of them for real."""

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.asgi import get_asgi_application
from django.test import Client

from live.asgi import with_streams
from live.hub import hub
from live.stream import Item, Stream, announce, streams

SECONDS = 20  # a test that waits for longer has failed
ORIGIN = "http://testserver"


class Rows:
    """The rows of a stream, by user."""

    def __init__(self) -> None:
        """There are none yet."""
        self.of: dict[int, list[Item]] = defaultdict(list)
        self.stream = Stream("rows", self.newest, self.after)

    def newest(self, user_id: int) -> int:
        """Return the highest id."""
        return max((row["id"] for row in self.of[user_id]), default=0)

    def after(self, user_id: int, last: int, limit: int) -> list[Item]:
        """Return what comes after an id."""
        return [row for row in self.of[user_id] if row["id"] > last][:limit]

    def add(self, user_id: int, *ids: int) -> None:
        """Add rows, and tell of them at the commit."""
        self.of[user_id] += [{"id": number} for number in ids]
        announce(self.stream, user_id)

    async def add_soon(self, user_id: int, *ids: int) -> None:
        """`add`, from a test that is a coroutine."""
        await sync_to_async(self.add)(user_id, *ids)


@contextlib.asynccontextmanager
async def served(rows: Rows) -> AsyncIterator[Any]:
    """Inside, there is the application with this stream, and it listens."""
    streams[rows.stream.name] = rows.stream
    try:
        application = with_streams(get_asgi_application())
        hub.start()
        await until(lambda: hub.listens)
        yield application
    finally:
        del streams[rows.stream.name]
        await hub.stop()


async def until(condition: Any) -> None:
    """Wait until it holds."""

    async def hold() -> None:
        while not condition():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(hold(), SECONDS)


@sync_to_async
def log_in(email: str = "ada@example.com") -> tuple[int, tuple[bytes, bytes]]:
    """Make a user; return the id, and the header with the session."""
    user = get_user_model().objects.create_user(email)
    client = Client()
    client.force_login(user)
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
    return user.pk, (b"cookie", cookie.encode())


class Socket(ApplicationCommunicator):
    """A WebSocket of a page of this site. (That of channels.testing needs daphne.)"""

    def __init__(
        self, application: Any, *headers: tuple[bytes, bytes], after: str = "", origin: str = ORIGIN
    ) -> None:
        """Nothing is connected yet."""
        super().__init__(
            application,
            {
                "type": "websocket",
                "path": "/ws/rows/",
                "query_string": f"after={after}".encode(),
                "headers": [*headers, *([(b"origin", origin.encode())] if origin else [])],
            },
        )

    async def connect(self) -> bool:
        """Return whether it was let in."""
        await self.send_input({"type": "websocket.connect"})
        return bool((await self.receive_output(SECONDS))["type"] == "websocket.accept")

    async def ids(self, count: int) -> list[int]:
        """Return the ids of the next rows."""
        received = [await self.receive_output(SECONDS) for _ in range(count)]
        return [json.loads(message["text"])["id"] for message in received]

    async def code(self) -> int:
        """Return the code that it is closed with."""
        return int((await self.receive_output(SECONDS))["code"])

    async def disconnect(self) -> None:
        """Go."""
        await self.send_input({"type": "websocket.disconnect", "code": 1001})
        await self.wait()


class Events(ApplicationCommunicator):
    """A GET of server-sent events."""

    def __init__(
        self,
        application: Any,
        *headers: tuple[bytes, bytes],
        path: str = "/events/rows/",
        **scope: Any,
    ) -> None:
        """Ask."""
        where, _, query = path.partition("?")
        super().__init__(
            application,
            {
                "type": "http",
                "method": "GET",
                "path": where,
                "query_string": query.encode(),
                "headers": list(headers),
                **scope,
            },
        )

    async def status(self) -> HTTPStatus:
        """Send the request, and return the status of the answer."""
        await self.send_input({"type": "http.request"})
        return HTTPStatus((await self.receive_output(SECONDS))["status"])

    async def body(self) -> tuple[str, bool]:
        """Return the next piece, and whether there will be another one."""
        message = await self.receive_output(SECONDS)
        return message["body"].decode(), message.get("more_body", False)
