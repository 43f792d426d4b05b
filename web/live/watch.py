"""One client's place in a stream: who they are, what they have seen, and whether they still may."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs

from channels.auth import get_user
from django.conf import settings
from django.db import Error

from live.hub import hub
from live.stream import Item, Stream

Scope = dict[str, Any]

CHECK_SECONDS = 60.0  # who has logged out elsewhere, or was deactivated, sees no more than that
PAGES = 100  # of one user, open at once: else one who opens thousands takes the memory of all
SEND_SECONDS = 30.0  # a client that takes nothing for this long is closed, and may come again


class LoggedOutError(Exception):
    """The session that the stream was opened with has ended."""


class BehindError(Exception):
    """The client does not take what it is sent."""


class TooManyPagesError(Exception):
    """The user has as many pages open as there may be."""


def last_seen(scope: Scope) -> int | None:
    """Return the id that a client has seen last: what an EventSource sends again, or ?after=ID."""
    asked = parse_qs(scope["query_string"].decode("latin-1")).get("after", [""])[0]
    for name, value in scope["headers"]:
        if name == b"last-event-id":
            asked = value.decode("latin-1")
    return int(asked) if re.fullmatch(r"[0-9]{1,18}", asked) else None


async def watch(
    scope: Scope, stream: Stream, send: Callable[[list[Item]], Awaitable[None]]
) -> None:
    """Send a client what it has not seen, and what is new, until it is cancelled.

    Raise LoggedOutError, BehindError, TooManyPagesError, or Django's Error while the database is
    away.
    """
    await first(_send(scope, stream, send), _check(scope))


async def first(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run them at once until one of them ends, as that one does."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _send(
    scope: Scope, stream: Stream, send: Callable[[list[Item]], Awaitable[None]]
) -> None:
    last = last_seen(scope)
    async with hub.feed(stream, scope["user"].pk, last) as feed:
        if feed.readers > PAGES:
            raise TooManyPagesError
        async for items in feed.items(last):
            try:
                await asyncio.wait_for(send(items), SEND_SECONDS)
            except asyncio.TimeoutError as error:
                raise BehindError from error


async def _check(scope: Scope) -> None:
    """Look now and then whether the session still is the user's."""
    sessions = import_module(settings.SESSION_ENGINE)
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        session = sessions.SessionStore(scope["session"].session_key)
        try:
            user = await get_user({"session": session})
        except Error:
            continue  # the database is away: nothing new comes from there either
        if user != scope["user"]:
            raise LoggedOutError
