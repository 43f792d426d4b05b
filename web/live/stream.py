"""Streams: what an application lets its users watch.

A stream consists of rows that are in the database, each of one user, with ids that only grow.
Nothing is kept anywhere else: PostgreSQL only tells, at the commit, that there is something new
(NOTIFY), and whoever wants it asks for what comes after the last id that they have.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection

CHANNEL = "live"  # of LISTEN and NOTIFY

Item = dict[str, Any]  # what is sent; one of its keys is "id"


@dataclass(frozen=True)
class Stream:
    """Rows that a user watches at /ws/NAME/ and /events/NAME/.

    newest: the highest id of a user's rows, 0 without any. after: the rows of a user with a higher
    id than the given one, oldest first, at most as many as given. Both may use the database.
    """

    name: str
    newest: Callable[[int], int]
    after: Callable[[int, int, int], list[Item]]


streams: dict[str, Stream] = {}


def register(stream: Stream) -> None:
    """Let users watch it."""
    streams[stream.name] = stream


def announce(stream: Stream, user_id: int) -> None:
    """Say that a user has a new row, when and if the transaction is committed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, f"{stream.name} {user_id}"])


def as_json(item: Item) -> str:
    """Return it on one line."""
    return json.dumps(item, cls=DjangoJSONEncoder)
