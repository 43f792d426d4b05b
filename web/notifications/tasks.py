"""What is done in the background: by a worker where a part has one, else at once, in the process.

A task may run twice, and what it is about may be gone when it runs.
"""

from django.utils import timezone
from django_tasks import task

from notifications import models


@task()
def deliver(pk: int) -> None:
    """Deliver a new notification, once. Send a mail or a text message here."""
    new = models.Notification.objects.filter(pk=pk, delivered_at=None)
    new.update(delivered_at=timezone.now())


@task()
def delete_old() -> None:
    """Delete what nobody will look for any more: once a day, by the beat of the part ``tasks``."""
    models.Notification.objects.delete_older_than(models.KEPT_DAYS)
