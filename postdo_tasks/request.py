"""Celery's request, which gives up a task that has ended its process again and again.

With `reject_on_worker_lost` a task whose process is killed goes back into its queue. One that is
killed each time, because it takes more memory than there is, would come back without end. So the
ends are counted in Redis, by the id of the task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from celery.worker import request

if TYPE_CHECKING:
    from .watch import Watch

MOST = 5  # so many processes: what an operator kills by hand, or a release, is not as stubborn


class EndsItsProcessError(Exception):
    """The failure of such a task."""


class Request(request.Request):  # type: ignore[misc]  # Celery has no types
    """A request for a task that may end as often as that."""

    watch: Watch

    def on_failure(self, exc_info: Any, *args: Any, **options: Any) -> None:
        """As Celery's; the last time the task has failed, and is acknowledged."""
        if self._has_lost_its_process(exc_info) and self.watch.note_loss(self.id) >= MOST:
            exc_info = _failure(f"{self.name} ended its process {MOST} times; it may need memory")
        super().on_failure(exc_info, *args, **options)

    def _has_lost_its_process(self, exc_info: Any) -> bool:
        """Not by a stop of the worker, which ends what does not end by itself."""
        if self.watch.stopping or self._already_cancelled or self._already_revoked:
            return False
        error = exc_info.exception
        return isinstance(getattr(error, "exc", error), WorkerLostError | SystemExit)


def _failure(text: str) -> ExceptionInfo:
    try:
        raise EndsItsProcessError(text)
    except EndsItsProcessError:
        return ExceptionInfo()
