"""Server-sent events: /events/STREAM/, with Last-Event-ID or ?after=ID. And the health page."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from django.db import Error

from live.hub import hub
from live.stream import Item, Stream, as_json
from live.watch import BehindError, LoggedOutError, Scope, TooManyPagesError, first, watch

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

PING_SECONDS = 20.0  # so that nobody on the way takes the connection for an idle one
RETRY_MS = (500, 3000)  # after which a browser comes back, each after a time of its own


def events(stream: Stream) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """Return the ASGI application that sends a stream to those who are logged in."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            await answer(send, HTTPStatus.METHOD_NOT_ALLOWED)
        elif not scope["user"].is_authenticated:
            await answer(send, HTTPStatus.FORBIDDEN)
        else:
            await stream_to(scope, receive, send, stream)

    return application


async def stream_to(scope: Scope, receive: Receive, send: Send, stream: Stream) -> None:
    """Send events until the client has gone, or the server ends, or one of them cannot go on."""

    async def write(text: str, *, more: bool = True) -> None:
        await send({"type": "http.response.body", "body": text.encode(), "more_body": more})

    async def send_items(items: list[Item]) -> None:
        await write("".join(f"id: {item['id']}\ndata: {as_json(item)}\n\n" for item in items))

    async def ping() -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            await write(": ping\n\n")

    async def until_gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    closing = scope.get("state", {}).get("closing") or asyncio.Event()

    await send(
        {
            "type": "http.response.start",
            "status": HTTPStatus.OK,
            "headers": [
                (b"content-type", b"text/event-stream"),
                (b"cache-control", b"no-store"),
                (b"x-accel-buffering", b"no"),  # for an nginx in front
            ],
        }
    )
    await write(f"retry: {random.randint(*RETRY_MS)}\n\n")  # noqa: S311 - no secret
    # Told when it comes again.
    with contextlib.suppress(LoggedOutError, BehindError, TooManyPagesError, Error):
        await first(watch(scope, stream, send_items), ping(), until_gone(), wait(closing))
    await write("", more=False)


async def wait(event: asyncio.Event) -> None:
    """Until it is set."""
    await event.wait()


async def health(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer 200 while PostgreSQL tells this process of what is new, else 503."""
    status = HTTPStatus.OK if hub.listens else HTTPStatus.SERVICE_UNAVAILABLE
    await answer(send, status, "ok" if hub.listens else "not connected to the database")


async def answer(send: Send, status: HTTPStatus, text: str = "") -> None:
    """Send a whole answer."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    body = f"{text or status.phrase}\n".encode()
    await send({"type": "http.response.body", "body": body})
