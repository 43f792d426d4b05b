"""Django's Tasks on Celery: `@task` functions are sent to the queues of Redis by `enqueue()`.

Each function is a Celery task named by its path (`shop.tasks.send_receipt`), so that Flower and
CELERY_BEAT_SCHEDULE know it. Within a transaction it is sent when that has committed: a worker sees
what the task is about, and a transaction that is rolled back sends nothing.
"""

from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone
from django_tasks.backends.base import BaseTaskBackend
from django_tasks.base import Task, TaskContext, TaskResult, TaskResultStatus
from django_tasks.signals import task_enqueued
from django_tasks.utils import get_random_id

from config.celery import app

_KNOWN: set[str] = set()


class CeleryBackend(BaseTaskBackend):
    """Sends tasks. What they return is not kept."""

    supports_defer = True
    supports_async_task = True

    def validate_task(self, task: Task) -> None:
        """Called for each `@task` when its module is imported: from then on Celery knows it."""
        super().validate_task(task)
        if task.module_path in _KNOWN:  # `using()` makes another task of the same function
            return
        _KNOWN.add(task.module_path)

        def run(request: Any, *args: Any, **kwargs: Any) -> None:
            """In the worker. `request` is Celery's task."""
            if task.takes_context:
                result = _result(task, request.request.id, args, kwargs)
                args = (TaskContext(task_result=result), *args)
            task.call(*args, **kwargs)

        app.task(name=task.module_path, bind=True)(run)

    def enqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:
        """Send it after the transaction, or at once where there is none."""
        self.validate_task(task)
        result = _result(task, get_random_id(), args, kwargs)
        if transaction.get_connection().in_atomic_block:
            transaction.on_commit(partial(_send, result))
        else:
            _send(result)
        task_enqueued.send(type(self), task_result=result)
        return result


def _send(result: TaskResult) -> None:
    app.send_task(
        result.task.module_path,
        args=result.args,
        kwargs=result.kwargs,
        task_id=result.id,
        queue=result.task.queue_name,
        eta=result.task.run_after,
    )


def _result(task: Task, task_id: str, args: Any, kwargs: Any) -> TaskResult:
    return TaskResult(
        task=task,
        id=task_id,
        status=TaskResultStatus.READY,  # type: ignore[arg-type]
        enqueued_at=timezone.now(),
        started_at=None,
        last_attempted_at=None,
        finished_at=None,
        args=list(args),
        kwargs=dict(kwargs),
        backend=task.backend,
        errors=[],
        worker_ids=[],
    )
