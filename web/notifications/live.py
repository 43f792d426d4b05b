"""Notifications as a stream, with the part ``live``: a page shows a new one as it is committed."""

from typing import Any

from django.db.models.signals import post_save
from django.dispatch import receiver

from live.stream import Item, Stream, announce, register
from notifications.models import Notification


def newest(user_id: int) -> int:
    """Return the highest id of a user's notifications, 0 without any."""
    ids = Notification.objects.filter(recipient=user_id).order_by("-id").values_list("id")
    return next((pk for (pk,) in ids[:1]), 0)


def after(user_id: int, last: int, limit: int) -> list[Item]:
    """Return what came after the id `last`, oldest first."""
    found = Notification.objects.filter(recipient=user_id).after(last)[:limit]
    return list(found.values("id", "text", "created"))


stream = Stream("notifications", newest, after)
register(stream)


@receiver(post_save, sender=Notification)
def announce_new(instance: Notification, *, created: bool, **_: Any) -> None:
    """Say so when a notification is committed. `bulk_create` sends no signal: announce it then."""
    if created:
        announce(stream, instance.recipient_id)
