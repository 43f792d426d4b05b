# mypy: disable-error-code="import-not-found, import-untyped, no-untyped-def, untyped-decorator"
"""What the workers do."""

import time

from celery import shared_task
from celery.signals import before_task_publish
from django_tasks import task

from bench_queued.models import Tick, Work


@task()
def work(number):
    """Note that it ran."""
    began = time.time()
    Work.objects.create(number=number, began=began, ended=time.time())


@shared_task(bind=True)
def tick(self, every):
    """Note when beat sent it, and how often it does: which tells the entries apart."""
    Tick.objects.create(task=self.request.id, every=every, sent=self.request.get("ticked"))


def note_tick(headers, **_):
    """When it is sent, to the millisecond."""
    headers["ticked"] = time.time()


before_task_publish.connect(note_tick)
