"""`TimeStampedModel`, by way of the model that uses it."""

from datetime import timedelta

from django.contrib.auth import get_user_model
from django.test import TestCase
from django.utils import timezone

from core.models import TimeStampedModel

User = get_user_model()


class TimeStampedModelTests(TestCase):
    """When a row was created and last modified."""

    def setUp(self) -> None:
        self.user = User.objects.create_user("ada@example.com")
        self.yesterday = timezone.now() - timedelta(days=1)
        User.objects.update(created=self.yesterday, modified=self.yesterday)
        self.user.refresh_from_db()

    def test_the_user_is_time_stamped(self) -> None:
        self.assertTrue(issubclass(User, TimeStampedModel))

    def test_saving_sets_modified_and_leaves_created(self) -> None:
        self.user.save()
        self.user.refresh_from_db()
        self.assertEqual(self.user.created, self.yesterday)
        self.assertGreater(self.user.modified, self.yesterday)

    def test_a_login_does_not_count_as_a_change(self) -> None:
        self.client.force_login(self.user)
        self.user.refresh_from_db()
        self.assertIsNotNone(self.user.last_login)
        self.assertEqual(self.user.modified, self.yesterday)
