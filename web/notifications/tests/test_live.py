"""Notifications as a stream, with the part ``live``."""

from unittest import SkipTest, mock

from django.apps import apps
from django.contrib.auth import get_user_model
from django.test import TestCase

from notifications.models import Notification

if not apps.is_installed("live"):
    raise SkipTest("the part live is off: COMPOSE_PROFILES=live switches it on")

from notifications import live


class NotificationStreamTests(TestCase):
    """What is asked of the database, and when it tells."""

    def setUp(self) -> None:
        users = get_user_model().objects
        self.ada, self.eve = (users.create_user(f"{name}@example.com") for name in ("ada", "eve"))
        told = [(self.ada, "one"), (self.eve, "for eve"), (self.ada, "two"), (self.ada, "three")]
        self.one, self.eves, self.two, self.three = (
            Notification.objects.create(recipient=user, text=text) for user, text in told
        )

    def test_the_newest_is_the_users_own(self) -> None:
        self.assertEqual(live.newest(self.ada.pk), self.three.pk)
        self.assertEqual(live.newest(self.eve.pk), self.eves.pk)
        self.assertEqual(live.newest(get_user_model().objects.create_user("new@a.example").pk), 0)

    def test_what_comes_after_an_id_is_the_users_own_oldest_first(self) -> None:
        found = live.after(self.ada.pk, self.one.pk, 10)
        self.assertEqual([item["text"] for item in found], ["two", "three"])
        self.assertEqual(set(found[0]), {"id", "text", "created"})
        self.assertEqual([item["id"] for item in live.after(self.ada.pk, 0, 1)], [self.one.pk])

    def test_a_new_one_is_announced_and_a_change_is_not(self) -> None:
        with mock.patch("notifications.live.announce") as announce:
            Notification.objects.create(recipient=self.eve, text="hello")
            announce.assert_called_once_with(live.stream, self.eve.pk)
            self.one.save()
            Notification.objects.mark_read()
            announce.assert_called_once()
