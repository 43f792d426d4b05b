"""Users: how they are made, and how they log in."""

from django.contrib.auth import authenticate, get_user_model
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.test import TestCase

User = get_user_model()
PASSWORD = "correct horse battery staple"


class UserTests(TestCase):
    """What the model, its field and its manager promise."""

    def test_login_works_in_whatever_case_the_address_was_typed(self) -> None:
        user = User.objects.create_user("Ada@Example.COM", PASSWORD)
        self.assertEqual(user.email, "ada@example.com")
        for typed in ("ada@example.com", "ADA@EXAMPLE.COM", " Ada@example.com "):
            with self.subTest(typed):
                self.assertEqual(authenticate(username=typed, password=PASSWORD), user)
        self.assertIsNone(authenticate(username="ada@example.com", password="wrong"))

    def test_one_mailbox_has_one_account(self) -> None:
        User.objects.create_user("ada@example.com")
        with self.assertRaises(IntegrityError), transaction.atomic():
            User.objects.create_user("Ada@example.com")
        with self.assertRaisesMessage(ValidationError, "exists already"):
            User(email="ADA@example.com", password="x").full_clean()

    def test_every_way_to_write_through_django_stores_lower_case(self) -> None:
        created = User.objects.bulk_create([User(email="Bulk@Example.com")])[0]
        found = User.objects.get(email="BULK@example.com")
        self.assertEqual((found.pk, found.email), (created.pk, "bulk@example.com"))
        User.objects.filter(email__in=["Bulk@Example.com"]).update(email="Changed@Example.com")
        found.refresh_from_db()
        self.assertEqual(found.email, "changed@example.com")

    def test_the_database_refuses_another_case_from_elsewhere(self) -> None:
        user = User.objects.create_user("ada@example.com")
        with (
            self.assertRaisesMessage(IntegrityError, "accounts_user_email_is_lower_case"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "UPDATE accounts_user SET email = 'Ada@example.com' WHERE id = %s", [user.pk]
            )

    def test_a_user_without_a_password_cannot_log_in(self) -> None:
        user = User.objects.create_user("ada@example.com")
        self.assertFalse(user.has_usable_password())
        self.assertFalse(user.is_staff or user.is_superuser)
        self.assertIsNone(authenticate(username="ada@example.com", password=""))

    def test_a_user_without_an_address_is_refused(self) -> None:
        for email in ("", "  "):
            with self.subTest(email), self.assertRaisesMessage(ValueError, "email address"):
                User.objects.create_user(email)

    def test_a_superuser_has_every_right(self) -> None:
        user = User.objects.create_superuser("Root@example.com", PASSWORD)
        self.assertTrue(user.is_staff and user.is_superuser and user.is_active)
        for right in ("is_staff", "is_superuser"):
            with self.subTest(right), self.assertRaisesMessage(ValueError, right):
                User.objects.create_superuser("b@example.com", PASSWORD, **{right: False})

    def test_the_command_createsuperuser_works(self) -> None:
        call_command("createsuperuser", email="Boss@example.com", interactive=False, verbosity=0)
        self.assertTrue(User.objects.get(email="boss@example.com").is_superuser)

    def test_a_user_is_called_by_name_or_address(self) -> None:
        user = User(email="ada@example.com", name="Ada King")
        self.assertEqual(
            (str(user), user.get_full_name(), user.get_short_name()),
            ("ada@example.com", "Ada King", "Ada"),
        )
        self.assertEqual(User(email="ada@example.com").get_short_name(), "ada@example.com")
