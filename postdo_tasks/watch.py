"""In a worker: is it heard, does it hear, and what has a dead one left?

A thread sends a probe through Redis to the worker's own queue every few seconds. As long as the
probes arrive, the worker is alive, which it notes in Redis for a short time: the health check reads
that. A worker that hears nothing although Redis answers (after a restart of Redis it may be
connected and have no queues) ends itself, and Docker starts it again.

What a worker has taken and not acknowledged is in Redis below its name. Whoever finds that another
worker is not alive any more puts its tasks back into their queues; a worker that starts does the
same with what its predecessor of the same name has left.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from typing import Any

import redis
from celery import signals
from celery.utils.nodenames import worker_direct
from celery.worker import state
from kombu.exceptions import KombuError, OperationalError

from .request import Request

logger = logging.getLogger("postdo_tasks")

EVERY = 3  # seconds between two probes
DEAF_AFTER = 12  # seconds without one: below the 30 s in which it has to be back at work
ALIVE = 20  # seconds for which a note counts
STARTING = 60  # seconds for the first one, which is made before the worker hears anything
STOP_SECONDS = 30  # for running tasks; stop_grace_period in docker-compose.tasks.*.yml is 15 s more
DEAF_STATUS = 70  # exit code

PROBE = "postdo.probe"
UNKNOWN = "postdo.unknown"  # the list of tasks whose name no worker knew
WORKERS = "postdo:workers"  # the set of all names
QUEUES = "postdo:queues"  # the set of all queues; `sh run.sh status` counts their tasks
# In one step, and once, should two workers know it.
MOVE = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 1 then redis.call('LPUSH', KEYS[2], ARGV[1]) end
"""
UNAVAILABLE = (redis.RedisError, KombuError, OperationalError, OSError)


def alive_key(worker: str) -> str:
    """What exists in Redis while that worker is alive."""
    return f"postdo:alive:{worker}"


def failed_key(now: float) -> str:
    """Where the failures of an hour are counted."""
    return f"postdo:failed:{int(now // 3600)}"


def losses_key(task: str) -> str:
    """Where it is counted how often that task has ended its process, by its id."""
    return f"postdo:losses:{task}"


class Watch:
    """One worker's watch.

    `heard` is when the last probe arrived, or might have; `consuming`, when it had all its queues.
    """

    def __init__(self, app: Any, worker: str) -> None:
        self.app = app
        self.worker = worker
        self.heard = self.consuming = time.monotonic()
        self.consumer: Any = None
        self.queues: set[str] = set()  # that it has to consume
        self.missed: set[str] = set()  # tasks below its name that it did not know of, a look ago
        self.stopping = False
        self.client = redis.Redis.from_url(
            app.conf.broker_url,
            socket_timeout=5,
            socket_connect_timeout=5,
            decode_responses=True,
        )

    def prepare(self) -> None:
        """Before the worker hears anything: nothing that is below its name is being worked on."""
        self.client.set(alive_key(self.worker), 1, ex=STARTING)
        self.client.sadd(WORKERS, self.worker)
        self.restore(self.worker)

    def start(self, consumer: Any) -> None:
        """The worker is ready."""
        self.consumer = consumer
        self.queues = set(self.app.amqp.queues.consume_from)
        self.client.sadd(QUEUES, *(queue for queue in self.queues if "@" not in queue))
        threading.Thread(target=self.run, name="watch", daemon=True).start()

    def run(self) -> None:
        """Until the worker ends."""
        self.heard = self.consuming = time.monotonic()
        while True:
            try:
                self.look()
            except UNAVAILABLE as error:
                logger.warning("Redis cannot be reached: %s", error)
                self.heard = self.consuming = time.monotonic()  # nobody hears anything now
            time.sleep(EVERY)

    def look(self) -> None:
        """Once. Raises what Redis raises."""
        self.client.ping()
        if not self.stopping:
            self.send_probe()
            self.take_known()
        if self.stopping or self.is_busy():
            self.heard = time.monotonic()
        elif not all(map(self.consumer.task_consumer.consuming_from, self.queues)):
            logger.warning("the worker does not consume all of its queues")
            self.heard = min(self.heard, self.consuming)
        else:
            self.consuming = time.monotonic()
        silent = time.monotonic() - self.heard
        if silent > DEAF_AFTER:
            logger.critical("the worker has heard nothing for %.0f s: it starts anew", silent)
            os._exit(DEAF_STATUS)
        if silent <= EVERY * 2:
            self.client.set(alive_key(self.worker), 1, ex=ALIVE)
        self.restore_missed()
        self.restore_of_the_dead()

    def send_probe(self) -> None:
        """To this worker alone."""
        queue = worker_direct(self.consumer.hostname)
        if self.client.llen(queue.name) == 0:
            self.app.send_task(PROBE, queue=queue, retry=False, ignore_result=True)

    def is_busy(self) -> bool:
        """It has as many tasks as it may have, and so asks for nothing more, no probe either."""
        return len(state.reserved_requests) >= max(1, self.consumer.qos.value or 1)

    def restore_of_the_dead(self) -> None:
        """What workers have left that are not alive."""
        for name in self.client.smembers(WORKERS):
            other = str(name)
            if other != self.worker and not self.client.exists(alive_key(other)):
                self.restore(other)

    def restore_missed(self) -> None:
        """What a break of the connection has left below this worker's name, unknown to it.

        Redis had given it, and the answer did not come; or it ran, and could not be acknowledged.
        """
        channel = getattr(self.consumer.task_consumer, "channel", None)
        if self.stopping or channel is None or channel.is_taking:
            return  # what is on its way now will be known
        noted = {str(tag) for tag in self.client.zrange(f"unacked_index.{self.worker}", 0, -1)}
        running = {request.message.delivery_tag for request in tuple(state.active_requests)}
        unknown = noted - set(channel.qos._delivered) - running
        if found := unknown & self.missed:
            with self.app.connection_for_write() as connection:
                for tag in found:
                    connection.default_channel.qos.restore_by_tag(tag)
            logger.warning("%s tasks that did not reach this worker are done again", len(found))
        self.missed = unknown - found

    def restore(self, worker: str) -> None:
        """Back into their queues: the tasks that `worker` took and did not acknowledge."""
        left = self.client.zcard(f"unacked_index.{worker}")
        if not left:
            return
        options = {
            **self.app.conf.broker_transport_options,
            "unacked_key": f"unacked.{worker}",
            "unacked_index_key": f"unacked_index.{worker}",
            "unacked_mutex_key": f"unacked_mutex.{worker}",
            "visibility_timeout": 0,
        }
        with self.app.connection_for_write(transport_options=options) as connection:
            connection.default_channel.qos.restore_visible(num=left)
        logger.warning("%s tasks that worker %s had not ended are done again", left, worker)

    def take_known(self) -> None:
        """Tasks that another version did not know, and this one does: into this worker's queue."""
        own = worker_direct(self.consumer.hostname).name
        for message in self.client.lrange(UNKNOWN, 0, -1):
            if json.loads(message)["headers"]["task"] in self.app.tasks:
                self.client.eval(MOVE, 2, UNKNOWN, own, message)

    def note_failure(self) -> None:
        """In the child that ran the task. Counting must not fail it once more."""
        self.count(failed_key(time.time()))

    def note_loss(self, task: str) -> int:
        """How often it has ended its process, with this time; 0 if Redis cannot be asked."""
        return self.count(losses_key(task))

    def count(self, key: str) -> int:
        """One more; what is counted is kept for 25 hours after the last one."""
        try:
            with self.client.pipeline() as both:
                both.incr(key)
                both.expire(key, 25 * 3600)
                counted, _ = both.execute()
        except redis.RedisError:
            logger.warning("a failure could not be counted")
            return 0
        return int(counted)


class ProbeStrategy:
    """What becomes of a probe: it is noted when it arrives, and never run."""

    watch: Watch

    def __init__(self, task: Any, app: Any, consumer: Any) -> None:
        self.errors = consumer.connection_errors

    def __call__(self, message: Any, *_: object) -> None:
        message.ack_log_error(logger, self.errors)
        self.watch.heard = time.monotonic()


def install(app: Any, worker: str) -> None:
    """Make a worker of this app watch itself."""
    watch = ProbeStrategy.watch = Request.watch = Watch(app, worker)
    app.Task.Request = "postdo_tasks.request:Request"
    app.task(name=PROBE, Strategy="postdo_tasks.watch:ProbeStrategy")(probe)

    def prepare(**_: object) -> None:
        try:
            watch.prepare()
        except UNAVAILABLE as error:
            raise SystemExit(f"error: Redis cannot be reached: {error}") from error

    def start(sender: Any, **_: object) -> None:
        watch.start(sender)

    def stop(**_: object) -> None:
        if not watch.stopping:
            watch.stopping = True
            end_soon()

    def fail(**_: object) -> None:
        watch.note_failure()

    signals.celeryd_after_setup.connect(prepare, weak=False)
    signals.worker_ready.connect(start, weak=False)
    signals.worker_shutting_down.connect(stop, weak=False)
    signals.task_failure.connect(fail, weak=False)


def probe() -> None:
    """What the probe is a message for. It is never run."""


def end_soon() -> None:
    """Asked to stop: what still runs then is ended, and goes back to its queue."""
    timer = threading.Timer(STOP_SECONDS, os.kill, (os.getpid(), signal.SIGQUIT))
    timer.daemon = True
    timer.start()
