"""WebSockets: /ws/STREAM/?after=ID."""

import asyncio
import contextlib
import logging
from typing import Any

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import Error

from live.stream import Item, Stream, as_json
from live.watch import BehindError, LoggedOutError, TooManyPagesError, watch

logger = logging.getLogger(__name__)

# Codes of RFC 6455, and of IANA's registry. 1012, for a release, is the server's.
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013
UNAUTHORIZED = 3000


class StreamConsumer(AsyncWebsocketConsumer):
    """Sends each row as a JSON object of its own. What clients send is not looked at."""

    def __init__(self, stream: Stream) -> None:
        """Nothing is sent yet."""
        super().__init__()
        self.stream = stream
        self.task: asyncio.Task[None] | None = None

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Handle it. Channels would look at the thread's database connection each time.

        After a release, with a thousand clients at once, that is most of the work.
        """
        await getattr(self, get_handler_name(message))(message)

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        """End, for the same reason without a look."""
        await self.disconnect(message["code"])
        raise StopConsumer

    async def connect(self) -> None:
        """Let users in. Others are told why they are closed, so that they do not come again."""
        await self.accept()
        if self.scope["user"].is_authenticated:
            self.task = asyncio.create_task(self.run())
        else:
            await self.close(UNAUTHORIZED)

    async def run(self) -> None:
        """Send until the client has gone, or is closed."""
        with contextlib.suppress(OSError):  # the client has gone meanwhile
            await self.close(await self.watch())

    async def watch(self) -> int:
        """Send for as long as it goes; return the code to close with."""
        try:
            await watch(self.scope, self.stream, self.send_items)
        except OSError:
            raise
        except LoggedOutError:
            return UNAUTHORIZED
        except (BehindError, TooManyPagesError, Error):
            # A client that does not read may never get the code. Then TCP ends it: live.py in
            # postdo_serving/.
            return TRY_AGAIN_LATER
        except Exception:
            logger.exception("The stream %s has failed", self.stream.name)
        return INTERNAL_ERROR

    async def send_items(self, items: list[Item]) -> None:
        """Send them one by one."""
        for item in items:
            await self.send(as_json(item))

    async def receive(self, text_data: str | None = None, **_: Any) -> None:
        """Look at nothing."""

    async def disconnect(self, code: int) -> None:
        """Stop sending."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
