"""The model and its questions."""

from datetime import timedelta
from io import StringIO

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, transaction
from django.db.utils import OperationalError
from django.test import TestCase, TransactionTestCase
from django.utils import timezone

from notifications.models import Notification

User = get_user_model()


class NotificationTests(TestCase):
    """Who is told what, in which order."""

    def setUp(self) -> None:
        self.ada = User.objects.create_user("ada@example.com")
        self.eve = User.objects.create_user("eve@example.com")
        self.first, self.second, self.third = (self.tell(text) for text in "abc")
        self.tell("for eve", self.eve)

    def tell(self, text: str, user: object = None) -> Notification:
        made: Notification = Notification.objects.create(recipient=user or self.ada, text=text)
        return made

    def test_the_newest_is_first(self) -> None:
        found = [str(one) for one in Notification.objects.of(self.ada)]
        self.assertEqual(found, ["c", "b", "a"])

    def test_what_was_missed_comes_in_order_and_is_nobody_elses(self) -> None:
        found = Notification.objects.of(self.ada).after(self.first.pk)
        self.assertEqual(list(found), [self.second, self.third])

    def test_what_is_marked_read_is_no_longer_unread(self) -> None:
        self.assertEqual(Notification.objects.of(self.ada).mark_read(), 3)
        self.assertEqual(Notification.objects.of(self.ada).mark_read(), 0)
        self.assertEqual(Notification.objects.unread().get().recipient, self.eve)

    def test_old_ones_are_deleted_whether_they_were_read_or_not(self) -> None:
        both = Notification.objects.filter(pk__in=[self.first.pk, self.second.pk])
        both.update(created=timezone.now() - timedelta(days=91))
        Notification.objects.filter(pk=self.first.pk).mark_read()
        call_command("delete_old_notifications", stdout=(output := StringIO()))
        self.assertEqual(output.getvalue(), "2 deleted\n")
        self.assertEqual(Notification.objects.count(), 2)
        call_command("delete_old_notifications", days=0, stdout=StringIO())
        self.assertEqual(Notification.objects.count(), 0)

    def test_a_user_can_be_deleted_by_a_site_that_does_not_know_of_notifications(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM accounts_user WHERE id = %s", [self.ada.pk])
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        self.assertEqual(Notification.objects.get().recipient, self.eve)


class OrderTests(TransactionTestCase):
    """Ids in the order of the commits."""

    def test_a_second_one_waits_until_the_first_is_committed(self) -> None:
        ada = User.objects.create_user("ada@example.com")
        eve = User.objects.create_user("eve@example.com")
        other = connection.copy()
        self.addCleanup(other.close)
        with transaction.atomic():
            Notification.objects.create(recipient=ada, text="not committed yet")
            with other.cursor() as cursor:
                cursor.execute("SET lock_timeout = '1ms'")
                lock = "SELECT 1 FROM accounts_user WHERE id = %s FOR NO KEY UPDATE"
                cursor.execute(lock, [eve.pk])
                with self.assertRaises(OperationalError):
                    cursor.execute(lock, [ada.pk])
