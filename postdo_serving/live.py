"""The server of what stays open: `python -m postdo_serving.live [HOST [PORT]]`, in web/.

Runs the project's ASGI_APPLICATION by uvicorn, beside Gunicorn. SIGTERM ends it: WebSockets are
closed with code 1012 ("service restart"), upon which clients come back, to the next version. Other
streams are told by an event, `scope["state"]["closing"]`, and have a moment to end.
What was measured for these choices: docs/decisions/live.md.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sys
from typing import Any

import django
import uvicorn
from django.conf import settings
from django.utils.module_loading import import_string
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from postdo_serving.clients import SPOKEN_FOR, Proxies

PORT = 8000
WAITING = 2048  # connections that are not accepted yet: after a release all clients come at once
PING_SECONDS = 20.0  # shorter than what routers and proxies allow an idle connection
STALLED_SECONDS = 30  # a client that takes nothing for this long is cut off
LARGEST_MESSAGE = 64 * 1024  # bytes, from a client
END_SECONDS = 20  # for streams to end in, at most; stop_grace_period is longer


class Server(uvicorn.Server):
    """uvicorn, which tells streams other than WebSockets that it ends."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin. Whatever is asked from now on finds the event in its scope."""
        self.lifespan.state["closing"] = asyncio.Event()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: uvicorn itself closes WebSockets with 1012."""
        self.lifespan.state["closing"].set()
        await super().shutdown(sockets)


class NamedByTheProxy:
    """An ASGI application that is told who asks by the proxy and by nobody else (clients.py)."""

    def __init__(self, application: Any, proxies: Proxies) -> None:
        """Keep the application."""
        self.proxies = proxies
        self.as_asked = application
        self.as_told = ProxyHeadersMiddleware(application, "*")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Believe or remove what the headers say of the visitor."""
        if scope["type"] == "lifespan" or await self.comes_from_proxy(scope):
            await self.as_told(scope, receive, send)
        else:
            spoken_for = tuple(name.lower().encode() for name in SPOKEN_FOR)
            asked = [field for field in scope["headers"] if not field[0].startswith(spoken_for)]
            await self.as_asked({**scope, "headers": asked}, receive, send)

    async def comes_from_proxy(self, scope: Any) -> bool:
        """Whether it does. A name may have to be looked up, and others not wait for that."""
        client = scope.get("client")
        return client is not None and await asyncio.to_thread(self.proxies.include, client[0])


def configuration() -> uvicorn.Config:
    """Return how uvicorn runs the project, which must have been set up."""
    application = import_string(settings.ASGI_APPLICATION)
    return uvicorn.Config(
        NamedByTheProxy(application, Proxies(os.environ)),
        loop="asyncio",
        http="h11",
        ws="websockets-sansio",
        lifespan="auto",
        workers=1,  # else it reads WEB_CONCURRENCY, which is Gunicorn's
        ws_max_size=LARGEST_MESSAGE,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        # 30 KB less for each client, and what is sent is short.
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=END_SECONDS,
        interface="asgi3",
        proxy_headers=False,
        server_header=False,
        # Django's own logging is set up already. A line for each of 1,000 clients that come back
        # would say nothing.
        log_config=None,
        log_level="warning",
        access_log=False,
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; the connections that it accepts inherit its options."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Who does not read what was sent would hold its memory for ever: pings do not end it, since
    # a close waits for its turn behind what is not read.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_SECONDS * 1000)
    listener.bind((host, port))
    listener.listen(WAITING)
    listener.setblocking(False)
    return listener


def allow_many_clients() -> None:
    """Each client is an open file, of which some engines allow 1,024 unless one asks."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(arguments: list[str]) -> int:
    """Serve until a signal ends it; return the exit code."""
    host, port = (*arguments, *("0.0.0.0", str(PORT))[len(arguments) :])  # noqa: S104
    django.setup()
    allow_many_clients()
    Server(configuration()).run([listen(host, int(port))])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
