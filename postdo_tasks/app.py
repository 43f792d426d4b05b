"""The project's Celery app with the settings by which no acknowledged task is lost.

What the project sets itself counts, but for the names of the lists in Redis. Environment in:
CELERY_APP, CELERY_BROKER_URL, TASK_SECONDS (the longest that a task may run), POSTDO_WORKER.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Any

from celery.app.utils import find_app
from kombu.transport import TRANSPORT_ALIASES

from . import watch
from .health import BEAT_LOCK

DAY = 24 * 3600
BROKER = os.environ.get("CELERY_BROKER_URL", "")
WORKER = os.environ.get("POSTDO_WORKER") or "one"


def settings(broker: str, task_seconds: int) -> dict[str, Any]:
    """What the project need not set. The keys are Celery's."""
    found: dict[str, Any] = {
        # Acknowledged when it is done: whatever ends the worker before, it is done again.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        # It would be delivered again, and run twice at the same time.
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        "task_time_limit": task_seconds,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "worker_consumer": "postdo_tasks.consumer:Consumer",
        "worker_direct": True,  # a queue of this worker's own, for the probe
        "worker_send_task_events": True,  # Flower shows them
        "worker_hijack_root_logger": False,  # Django's LOGGING counts
        "beat_max_loop_interval": 2,
    }
    if importlib.util.find_spec("redbeat") is not None:
        found |= {
            "beat_scheduler": "redbeat.RedBeatScheduler",
            "redbeat_redis_url": broker,
            "redbeat_redis_options": {"socket_timeout": 5, "socket_connect_timeout": 5},
            # A beat that was killed keeps the next one waiting for this long.
            "redbeat_lock_timeout": 10,
        }
    return found


def transport_options(worker: str) -> dict[str, Any]:
    """kombu's. What a worker has not acknowledged is in lists of its own (`watch` restores them).

    So the visibility time-out, after which kombu delivers a task a second time although the first
    one may still run or wait for its ETA, need not be short.
    """
    return {
        "visibility_timeout": 30 * DAY,
        "unacked_key": f"unacked.{worker}",
        "unacked_index_key": f"unacked_index.{worker}",
        "unacked_mutex_key": f"unacked_mutex.{worker}",
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 5,
    }


def beat_lock(app: Any) -> str:
    """The name of RedBeat's lock in the broker; empty with another scheduler, or elsewhere."""
    conf = app.conf
    if "redbeat" not in str(conf.beat_scheduler).lower() or conf.redbeat_redis_url != BROKER:
        return ""
    key = importlib.import_module("redbeat.schedulers").RedBeatConfig(app).lock_key
    return key or ""


app = find_app(os.environ.get("CELERY_APP") or "config")
app.add_defaults(settings(BROKER, int(os.environ.get("TASK_SECONDS") or 3600)))
app.conf.broker_transport_options = {
    **app.conf.broker_transport_options,
    **transport_options(WORKER),
}
if "worker" in sys.argv:
    # Not for other programs: what they read, such as the answers of `inspect`, nobody acknowledges.
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = "postdo_tasks.transport:Transport"
    watch.install(app, WORKER)
if "beat" in sys.argv:
    BEAT_LOCK.write_text(beat_lock(app))
