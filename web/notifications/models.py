"""What a user is told."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import models, transaction
from django.utils import timezone

from notifications import tasks

if TYPE_CHECKING:
    from typing_extensions import Self

    from accounts.models import User

KEPT_DAYS = 90


class NotificationQuerySet(models.QuerySet["Notification"]):
    """The questions that page, API and live updates ask."""

    def of(self, user: "User") -> "Self":
        """Return those of `user`. Start every query for a visitor with this one."""
        found: Self = self.filter(recipient=user)
        return found

    def unread(self) -> "Self":
        """Return those that were not read yet."""
        found: Self = self.filter(read_at=None)
        return found

    def after(self, pk: int) -> "Self":
        """Return what came after `pk`, oldest first: what a client that was away has missed."""
        found: Self = self.filter(pk__gt=pk).order_by("pk")
        return found

    def mark_read(self) -> int:
        """Mark those that were not read yet as read now; return how many there were."""
        return self.unread().update(read_at=timezone.now())

    def delete_older_than(self, days: int) -> int:
        """Delete what is older, read or not; return how many there were."""
        old = self.filter(created__lt=timezone.now() - timedelta(days=days))
        count: int = old.delete()[0]
        return count


class Notification(models.Model):
    """A line of text for one user.

    The ids of a user's notifications only grow: a client that knows the last one it has seen asks
    for what came after it, and misses nothing.
    """

    id = models.BigAutoField(primary_key=True)
    # The migration writes the constraint, ON DELETE CASCADE: users can be deleted, and take their
    # notifications along, also while this application is switched off.
    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="notifications",
        db_constraint=False,
        db_index=False,  # the index below begins with it
    )
    text = models.CharField(max_length=500)
    created = models.DateTimeField(auto_now_add=True)
    delivered_at = models.DateTimeField(null=True, editable=False)  # by a task: tasks.py
    read_at = models.DateTimeField(null=True, blank=True)

    objects = NotificationQuerySet.as_manager()

    class Meta:
        """The newest first."""

        ordering = ("-id",)
        indexes = (
            # A user's list, page by page, and what they missed.
            models.Index(fields=("recipient", "-id"), name="notification_of_recipient"),
            # What the periodic clean-up looks for.
            models.Index(fields=("created",), name="notification_created"),
        )

    def __str__(self) -> str:
        """Return the text."""
        return self.text

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save and deliver. A new one waits for another to the same user until that is committed.

        A transaction that commits late has a low id. Without the lock, a client that has seen a
        higher one would never be shown it.
        """
        with transaction.atomic():
            if new := self._state.adding:
                users = get_user_model().objects.select_for_update(no_key=True)
                users.only("pk").get(pk=self.recipient_id)
            super().save(*args, **kwargs)
            if new:
                tasks.deliver.enqueue(self.pk)
