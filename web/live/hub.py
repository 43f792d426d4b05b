"""The hub of one process: it hears PostgreSQL, asks for what is new, and wakes who waits for it.

Memory does not grow with what clients have yet to receive. A client has no queue, only the last id
that it was sent: from there it reads on in what its user's feed has kept of late, or, if it is far
behind, in the database.

Two connections to the database serve all clients: the one that listens, and that of the thread in
which Channels asks (database_sync_to_async).
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import psycopg2
from channels.db import database_sync_to_async
from django.db import DEFAULT_DB_ALIAS, Error, connections

from live.stream import CHANNEL, Item, Stream, streams

logger = logging.getLogger(__name__)

KEPT = 100  # items of a feed in memory, and how many are asked for at once
RETRY_SECONDS = 1.0
# So that a server that went away without a word is noticed in half a minute.
KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}


class Feed:
    """What is new for one user in one stream, asked for once for all of their open pages."""

    def __init__(self, stream: Stream, user_id: int, last: int | None) -> None:
        """Begin after the id `last` of the first reader: others are likely to have the same."""
        self.stream = stream
        self.user_id = user_id
        self.readers = 0
        self.floor = self.newest = 0  # `kept` has all from above the one id up to the other
        self.kept: deque[Item] = deque()
        self.told = asyncio.Event()  # there may be something new
        self.grown = asyncio.Event()  # there is; replaced each time
        self.opened: asyncio.Task[None] = asyncio.create_task(self.open(last))
        self.task = asyncio.create_task(self.grow())

    async def open(self, last: int | None) -> None:
        """Look where the feed begins. It is told of whatever is committed from now on."""
        newest = await database_sync_to_async(self.stream.newest)(self.user_id)
        self.newest = self.floor = newest if last is None else min(last, newest)
        if self.newest < newest:
            self.told.set()

    async def grow(self) -> None:
        """Get what is new, each time that there is something, also while the database restarts."""
        try:
            await self.opened
        except Error:
            return  # each reader is told, and comes again
        while True:
            await self.told.wait()
            self.told.clear()
            try:
                while items := await self.ask(self.newest):
                    self.keep(items)
            except Error as error:
                logger.warning("Live updates wait for the database: %s", str(error).strip())
                self.told.set()
                await asyncio.sleep(RETRY_SECONDS)

    def keep(self, items: list[Item]) -> None:
        """Add what comes after `newest`, forget the oldest, and wake the readers."""
        self.kept.extend(items)
        self.newest = items[-1]["id"]
        while len(self.kept) > KEPT:
            self.floor = self.kept.popleft()["id"]
        grown, self.grown = self.grown, asyncio.Event()
        grown.set()

    async def ask(self, last: int) -> list[Item]:
        """Return what comes after an id, the oldest of it."""
        items: list[Item] = await database_sync_to_async(self.stream.after)(
            self.user_id, last, KEPT
        )
        return items

    async def items(self, last: int | None) -> AsyncIterator[list[Item]]:
        """Yield what comes after the id `last`, for ever; without an id, what comes from now on."""
        await asyncio.shield(self.opened)
        if last is None or last > self.newest:
            # The feed may still be on its way there. A higher id is known from another process,
            # or of a database that was there before this one was restored.
            newest = await database_sync_to_async(self.stream.newest)(self.user_id)
            last = newest if last is None else min(last, newest)
        while True:
            grown = self.grown
            if last < self.floor:
                items = await self.ask(last)
            else:
                items = [item for item in self.kept if item["id"] > last]
            if items:
                yield items
                last = items[-1]["id"]
            else:
                await grown.wait()


class Hub:
    """All feeds of a process, and the connection that listens for them."""

    def __init__(self) -> None:
        """Nothing is open."""
        self.feeds: dict[tuple[str, int], Feed] = {}
        self.listens = False
        self.task: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def feed(self, stream: Stream, user_id: int, last: int | None) -> AsyncIterator[Feed]:
        """Inside, there is a feed, the same one for all of a user's pages."""
        self.start()
        key = (stream.name, user_id)
        feed = self.feeds.get(key)
        if feed is None or (feed.opened.done() and feed.opened.exception()):
            feed = self.feeds[key] = Feed(stream, user_id, last)
        feed.readers += 1
        try:
            yield feed
        finally:
            feed.readers -= 1
            if not feed.readers:
                feed.task.cancel()
                if self.feeds.get(key) is feed:
                    del self.feeds[key]

    def start(self) -> None:
        """Listen from now on."""
        if self.task is None:
            self.task = asyncio.create_task(self.listen())

    async def listen(self) -> None:
        """Hear what was committed, on a connection that is made again whenever it breaks."""
        while True:
            try:
                async with listening() as connection:
                    self.listens = True
                    # What was said while nobody listened is asked for.
                    for feed in self.feeds.values():
                        feed.told.set()
                    await self.hear(connection)
            except psycopg2.Error as error:
                if self.listens:
                    logger.warning("Live updates have lost the database: %s", str(error).strip())
            finally:
                self.listens = False
            await asyncio.sleep(RETRY_SECONDS)

    async def hear(self, connection: Any) -> None:
        """Tell feeds of what is new, until the connection breaks."""
        readable = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(connection.fileno(), readable.set)
        try:
            while True:
                await readable.wait()
                readable.clear()
                connection.poll()
                while connection.notifies:
                    self.tell(connection.notifies.pop(0).payload)
        finally:
            loop.remove_reader(connection.fileno())

    def tell(self, payload: str) -> None:
        """Pass on "STREAM USER" to whom it concerns."""
        name, _, user = payload.partition(" ")
        if name in streams and user.isdecimal() and (feed := self.feeds.get((name, int(user)))):
            feed.told.set()

    async def stop(self) -> None:
        """Let go of the connection."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[Any]:
    """Inside, there is a connection of its own, by psycopg2, on which PostgreSQL tells."""
    connection = await asyncio.to_thread(connect)
    try:
        yield connection
    finally:
        connection.close()


def connect() -> Any:
    """Connect as Django does, and listen."""
    django = connections[DEFAULT_DB_ALIAS]
    connection = django.get_new_connection(django.get_connection_params() | KEEPALIVE)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")
    return connection


hub = Hub()
