"""What a visitor gets when a page fails."""

from unittest.mock import patch

from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client, TransactionTestCase, override_settings
from django.urls import reverse


@override_settings(DEBUG=False, PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"])
class ErrorTests(TransactionTestCase):
    """By a client that gets an answer, and no exception."""

    def setUp(self) -> None:
        self.client = Client(raise_request_exception=False)

    def test_a_write_that_the_database_refuses_is_answered_with_503(self) -> None:
        """Such as the session of a login, while the disk is full."""
        get_user_model().objects.create_user("ann@example.com", password="a long password")
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
        try:
            login = {"username": "ann@example.com", "password": "a long password"}
            with self.assertLogs("django.request", "ERROR"):
                answer = self.client.post(reverse("login"), login)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("SET default_transaction_read_only = off")
        self.assertContains(answer, "Nothing can be saved just now", status_code=503)
        self.assertEqual(answer["Retry-After"], "60")

    def test_a_fault_of_the_site_stays_a_500(self) -> None:
        fault = patch("core.status.look", side_effect=RuntimeError("a fault"))
        with fault, self.assertLogs("django.request", "ERROR"):
            answer = self.client.get("/")
        self.assertContains(answer, "Something broke on our side", status_code=500)
