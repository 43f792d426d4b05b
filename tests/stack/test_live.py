"""The part `live` in production: an open page, through the proxy and through a release."""

from __future__ import annotations

import asyncio
import json

from bench import websocket

from .clone import Clone

NOTIFY = """
from accounts.models import User
from notifications.models import Notification
Notification.objects.create(recipient=User.objects.get(), text="{}")
"""


class OpenPage:
    """A page of the superuser, which comes back when it is closed."""

    def __init__(self, clone: Clone) -> None:
        self.clone = clone
        self.port = int(clone.environment["HTTP_PORT"])
        cookies = clone.admin("HTTP_PORT").cookies
        self.headers = {
            "Host": f"localhost:{self.port}",
            "Origin": f"http://localhost:{self.port}",
            "Cookie": "; ".join(f"{cookie.name}={cookie.value}" for cookie in cookies),
        }
        self.last = 0

    async def open(self) -> websocket.WebSocket:
        path = f"/ws/notifications/?after={self.last}"
        return await websocket.connect("127.0.0.1", self.port, path, self.headers)

    async def open_events(self) -> websocket.EventStream:
        path = f"/events/notifications/?after={self.last}"
        return await websocket.connect_events("127.0.0.1", self.port, path, self.headers)

    async def text(self, stream: websocket.WebSocket | websocket.EventStream) -> str:
        """What the next notification says."""
        received = await asyncio.wait_for(stream.receive(), 30)
        assert received is not None, f"closed with {stream.code}"
        item = json.loads(received)
        self.last = max(self.last, item["id"])
        return str(item["text"])

    async def run(self, *arguments: str) -> None:
        """`sh run.sh`, while the page is open."""
        await asyncio.to_thread(self.clone.run, "-0", *arguments)


def test_an_open_page_misses_nothing_of_a_release(fresh: Clone) -> None:
    fresh.environment |= {"COMPOSE_PROFILES": "live", "WATCH_SECONDS": "0", "DRAIN_SECONDS": "1"}
    fresh.run("-0")
    assert fresh.runs_in("prod") == {"db", "proxy", "web-blue", "live-blue"}
    asyncio.run(_watch(OpenPage(fresh)))
    assert fresh.runs_in("prod") == {"db", "proxy", "web-green", "live-green"}


async def _watch(page: OpenPage) -> None:
    socket, events = await page.open(), await page.open_events()
    await page.run("manage", "shell", "-c", NOTIFY.format("before"))
    assert await page.text(socket) == await page.text(events) == "before"
    await page.run("logs", "live")

    page.clone.write("web/core/models.py", "\n# A change.\n", add=True)
    # Read meanwhile: a page that answers no ping for 40 s is closed, and a release can be longer.
    _, last, end = await asyncio.gather(page.run(), socket.receive(), events.receive())

    assert (last, end) == (None, None)
    assert (socket.code, events.code) == (1012, websocket.WHOLE)
    await page.run("manage", "shell", "-c", NOTIFY.format("while it was away"))
    assert await page.text(await page.open()) == "while it was away"
