"""The project's Celery app. The part `tasks` of the kit runs it: worker, beat and Flower.

Its settings are the CELERY_ names of the Django settings; those by which no task is lost come from
the kit (postdo_tasks/app.py). Tasks are found in each application's `tasks` module.
"""

import time
from typing import Any

from celery import Celery
from celery.signals import before_task_publish

app = Celery("config")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def note_when(headers: dict[str, Any], **_: object) -> None:
    """When a task was sent goes with it: `sh run.sh status` tells how long the oldest one waits."""
    headers.setdefault("sent", round(time.time()))


before_task_publish.connect(note_when)
