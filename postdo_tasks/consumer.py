"""Celery's consumer, which keeps tasks that it does not know.

While a release exchanges the workers, the old one may get a task that only the new code has, and
after a rollback too. Celery throws it away. Here it is put aside, until a worker that knows it
takes it (`Watch.take_known`).
"""

from __future__ import annotations

import logging
from typing import Any

from celery.worker import consumer

from .watch import UNKNOWN

logger = logging.getLogger("postdo_tasks")


class Consumer(consumer.Consumer):  # type: ignore[misc]  # Celery has no types
    """A consumer that loses no task of an unknown name."""

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Put aside first, then acknowledge: a kill in between leaves it twice, not lost."""
        logger.error("no task here is named %s: kept for a version that has it", exc)
        message.channel._put(UNKNOWN, message.serializable())  # kombu has no other way
        message.ack_log_error(logger, self.connection_errors)
