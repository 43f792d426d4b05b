"""What the ASGI server runs: the streams, and for everything else Django."""

from typing import Any, cast

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import path, re_path

from live.events import Receive, Send, events, health
from live.hub import hub
from live.stream import streams
from live.watch import Scope
from live.websocket import StreamConsumer


def with_streams(django: Any) -> Any:
    """Return the application: /ws/STREAM/ and /events/STREAM/ of each stream, before Django's own.

    Add consumers of your own to the lists; the proxy sends all below /ws/ and /events/ here.
    """
    websockets = [
        path(f"ws/{name}/", StreamConsumer.as_asgi(stream=stream))
        for name, stream in streams.items()
    ]
    pages: list[Any] = [
        path(f"events/{name}/", AuthMiddlewareStack(events(stream)))
        for name, stream in streams.items()
    ]
    return ProtocolTypeRouter(
        {
            "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websockets))),
            "http": URLRouter(
                [path("events/healthz", cast("Any", health)), *pages, re_path("", django)]
            ),
            "lifespan": lifespan,
        }
    )


async def lifespan(_scope: Scope, receive: Receive, send: Send) -> None:
    """Listen to PostgreSQL from the start of the server to its end."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            hub.start()
        else:
            await hub.stop()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
