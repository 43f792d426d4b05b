# mypy: disable-error-code="assignment, no-untyped-call"
"""kombu's transport for Redis, in which a worker takes a task in one step.

kombu waits with BRPOP, which removes a task from its queue, and writes it into the list of what is
not acknowledged when the answer has come. A worker or a Redis that is killed between the two loses
that task. Here a script does both at once. A script cannot wait, so if there was nothing, BLMOVE
waits until the queue has something: it moves the last task of the queue to where it is already.
"""

from __future__ import annotations

import time
from queue import Empty
from typing import Any

from kombu.transport import redis
from kombu.transport.virtual import QoS as VirtualQoS
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads
from redis.exceptions import ResponseError

# KEYS: the unacknowledged tasks, their index, then the queues in the order in which they are asked.
# What is no message goes to the worker as it is: kombu says so.
TAKE = """
for i = 3, #KEYS do
    local text = redis.call('RPOP', KEYS[i])
    if text then
        local ok, message = pcall(cjson.decode, text)
        if ok and type(message) == 'table' and message.properties then
            local from = message.properties.delivery_info
            local entry = '[' .. text .. ',' .. cjson.encode(from.exchange) .. ','
                .. cjson.encode(from.routing_key) .. ']'
            redis.call('HSET', KEYS[1], message.properties.delivery_tag, entry)
            redis.call('ZADD', KEYS[2], ARGV[1], message.properties.delivery_tag)
        end
        return {KEYS[i], text}
    end
end
return false
"""
FULL_PAUSE = 0.2  # seconds; a Redis at its limit of memory refuses BLMOVE, but not the script


class QoS(redis.QoS):
    """What is not acknowledged."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """What was taken by the script is in Redis's list already."""
        if delivery_tag == self.channel.taken:
            VirtualQoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)


class Channel(redis.Channel):
    """Sends one command at a time, as kombu's does with BRPOP: take, or wait if that got nothing.

    kombu's names are kept, because its poller calls them.
    """

    QoS = QoS
    taken: str | None = None  # the tag of what the script took last
    _waits = False  # what is sent next, or has been sent and not answered
    _turn = 0  # of the queues, to be waited for

    def _brpop_start(self, timeout: float | None = None) -> None:
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        command = self._wait(queues) if self._waits else self._take(queues)
        self._in_poll = self.client.connection
        self._brpop_sent_at = time.monotonic()
        self.client.connection.send_command(*command)

    def _take(self, queues: list[str]) -> list[Any]:
        keys = [self._q_for_pri(queue, step) for step in self.priority_steps for queue in queues]
        lists = [self.unacked_key, self.unacked_index_key, *keys]
        return ["EVAL", TAKE, len(lists), *lists, time.time()]

    def _wait(self, queues: list[str]) -> list[Any]:
        """For one queue; with several, each in turn. A worker's own queue (HOST@NAME) can wait."""
        shared = sorted(queue for queue in queues if "@" not in queue) or queues
        self._turn += 1
        queue = shared[self._turn % len(shared)]
        return ["BLMOVE", queue, queue, "RIGHT", "RIGHT", self.brpop_timeout / len(shared)]

    def _brpop_read(self, **options: Any) -> bool:
        waited, self._waits = self._waits, False
        try:
            try:
                answer = self.client.parse_response(
                    self.client.connection, "BLMOVE" if waited else "EVAL", **options
                )
            except self.connection_errors:
                self.client.connection.disconnect()
                raise
            except ResponseError:
                if not waited:
                    raise
                time.sleep(FULL_PAUSE)
                raise Empty from None
            if waited or answer is None:
                self._waits = not waited
                raise Empty
            queue = bytes_to_str(answer[0]).rsplit(self.sep, 1)[0]
            message = loads(bytes_to_str(answer[1]))
            self._queue_cycle.rotate(queue)
            self.taken = message["properties"]["delivery_tag"]
            self.connection._deliver(message, queue)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    @property
    def is_taking(self) -> bool:
        """Whether a task may be on its way from Redis to here."""
        return bool(self._in_poll) and not self._waits


class Transport(redis.Transport):
    """As kombu's, with that channel."""

    Channel = Channel
