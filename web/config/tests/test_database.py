"""DATABASE_URL, and the transaction around each request."""

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import SimpleTestCase, TransactionTestCase, override_settings
from django.urls import path

from config.database import postgresql


class DatabaseUrlTests(SimpleTestCase):
    """What becomes of a URL."""

    def test_a_url_becomes_a_connection_that_is_kept_and_checked(self) -> None:
        settings = postgresql("postgres://me:p%40ss@db:5433/site", max_age=60)
        expected = {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": "db",
            "PORT": 5433,
            "USER": "me",
            "PASSWORD": "p@ss",
            "NAME": "site",
            "CONN_MAX_AGE": 60,
            "CONN_HEALTH_CHECKS": True,
            "ATOMIC_REQUESTS": True,
        }
        self.assertLessEqual(expected.items(), settings.items())
        self.assertEqual(settings["OPTIONS"]["connect_timeout"], 5)

    def test_options_in_the_url_win(self) -> None:
        url = "postgres://db/site?sslmode=require&connect_timeout=30"
        options = postgresql(url, max_age=0)["OPTIONS"]
        self.assertEqual((options["sslmode"], options["connect_timeout"]), ("require", 30))

    def test_what_is_no_postgresql_url_is_refused_without_showing_it(self) -> None:
        for url in (
            "mysql://me:s3cret@db/site",
            "me:s3cret@db/site",
            "postgres://me:s3cret@db/",
            "postgres://me:s3cret@db:port/site",
            "postgres://me:s3cret@[db/site",
            "sqlite://:memory:",
        ):
            with self.subTest(url), self.assertRaises(ImproperlyConfigured) as caught:
                postgresql(url, max_age=0)
            self.assertIn("postgres://user:password@host", str(caught.exception))
            self.assertNotIn("s3cret", str(caught.exception))
            self.assertIsNone(caught.exception.__cause__)


def write_then_fail(_: HttpRequest) -> HttpResponse:
    """Write a row and fail after it."""
    get_user_model().objects.create_user("half@example.com")
    raise RuntimeError("after the write")


urlpatterns = [path("fail", write_then_fail)]


class ConnectionTests(TransactionTestCase):
    """What the connection really does."""

    @override_settings(ROOT_URLCONF=__name__)
    def test_a_request_that_fails_leaves_nothing_half_done(self) -> None:
        with self.assertRaisesMessage(RuntimeError, "after the write"):
            self.client.get("/fail")
        self.assertFalse(get_user_model().objects.exists())

    def test_the_server_shows_who_is_connected(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SHOW application_name")
            self.assertEqual(cursor.fetchone(), ("django",))
