"""What is done in the background."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import TestCase, override_settings
from django.utils import timezone
from django.utils.module_loading import import_string
from django_tasks import default_task_backend
from django_tasks.base import Task

from notifications import tasks
from notifications.models import Notification

DUMMY = {"default": {"BACKEND": "django_tasks.backends.dummy.DummyBackend"}}


class DeliverTests(TestCase):
    """Each new notification queues a task."""

    def setUp(self) -> None:
        self.ada = get_user_model().objects.create_user("ada@example.com")

    def tell(self) -> Notification:
        made: Notification = Notification.objects.create(recipient=self.ada, text="hello")
        return made

    def test_where_nobody_works_in_the_background_it_is_delivered_at_once(self) -> None:
        notification = self.tell()
        notification.refresh_from_db()
        self.assertIsNotNone(notification.delivered_at)

    @override_settings(TASKS=DUMMY)
    def test_a_new_one_is_queued_and_a_changed_one_is_not(self) -> None:
        notification = self.tell()
        notification.save()
        backend: Any = default_task_backend
        queued = [(result.task, result.args) for result in backend.results]
        self.assertEqual(queued, [(tasks.deliver, [notification.pk])])
        notification.refresh_from_db()
        self.assertIsNone(notification.delivered_at)

    def test_a_task_that_runs_twice_delivers_once(self) -> None:
        notification = self.tell()
        notification.refresh_from_db()
        tasks.deliver.call(notification.pk)
        again = Notification.objects.get()
        self.assertEqual(again.delivered_at, notification.delivered_at)

    def test_one_that_was_deleted_meanwhile_is_no_error(self) -> None:
        tasks.deliver.call(0)


class PeriodicTests(TestCase):
    """What the beat starts."""

    def test_old_ones_are_deleted(self) -> None:
        ada = get_user_model().objects.create_user("ada@example.com")
        for days in (91, 1):
            made = Notification.objects.create(recipient=ada, text=f"{days} days old")
            created = timezone.now() - timedelta(days=days)
            Notification.objects.filter(pk=made.pk).update(created=created)
        tasks.delete_old.call()
        self.assertEqual(Notification.objects.get().text, "1 days old")

    def test_each_entry_of_the_schedule_is_a_task(self) -> None:
        names = [entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()]
        self.assertIn("notifications.tasks.delete_old", names)
        for name in names:
            with self.subTest(name):
                self.assertIsInstance(import_string(name), Task)
