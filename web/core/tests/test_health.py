"""The health answers, on a database that answers."""

from django.contrib.auth import get_user_model
from django.db import connection
from django.test import TestCase, TransactionTestCase, override_settings


@override_settings(APP_VERSION="1.2.3", ALLOWED_HOSTS=["www.example.com"])
class HealthTests(TestCase):
    """What a container engine and a proxy may rely on."""

    def test_healthz_answers_without_a_query(self) -> None:
        with self.assertNumQueries(0):
            response = self.client.get("/healthz")
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.json(), {"status": "ok"})

    def test_readyz_answers_by_one_query(self) -> None:
        self.client.get("/readyz")  # the first one reads the migrations on disk
        with self.assertNumQueries(1):
            response = self.client.get("/readyz")
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.json(), {"status": "ok"})

    @override_settings(SECURE_SSL_REDIRECT=True)
    def test_no_host_check_and_no_redirect_comes_before_health(self) -> None:
        for path in ("/healthz", "/readyz"):
            with self.subTest(path):
                response = self.client.get(path, headers={"host": "no such_host!"})
                self.assertEqual(response.status_code, 200)
                self.assertEqual(response["Cache-Control"], "no-store")
                self.assertEqual(response["Content-Length"], str(len(response.content)))
        self.assertEqual(self.client.get("/", headers={"host": "other.example"}).status_code, 400)

    def test_health_may_only_be_read(self) -> None:
        for path in ("/healthz", "/readyz"):
            with self.subTest(path):
                self.assertEqual(self.client.head(path).status_code, 200)
                response = self.client.post(path)
                self.assertEqual(response.status_code, 405)
                self.assertEqual(response["Allow"], "GET, HEAD")

    def test_other_paths_are_none_of_its_business(self) -> None:
        for path in ("/healthz/", "/readyz/x", "/x/healthz"):
            with self.subTest(path):
                response = self.client.get(path, headers={"host": "www.example.com"})
                self.assertEqual(response.status_code, 404)


class BrokenDatabaseTests(TransactionTestCase):
    """What happens when the database is there, and not as it should be."""

    def set_aside(self, table: str) -> None:
        """Rename `table` until the test is over."""
        self.execute(f"ALTER TABLE {table} RENAME TO set_aside")
        self.addCleanup(self.execute, f"ALTER TABLE set_aside RENAME TO {table}")

    def execute(self, sql: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql)

    def test_readyz_is_503_on_a_database_that_was_never_migrated(self) -> None:
        self.set_aside("django_migrations")
        with self.assertLogs("core.middleware", "WARNING"):
            response = self.client.get("/readyz")
        self.assertEqual(response.status_code, 503)
        self.assertEqual(response.json()["reason"], "migrations")

    def test_the_home_page_survives_a_table_of_users_that_does_not_fit(self) -> None:
        user = get_user_model().objects.create_user("ada@example.com", is_staff=True)
        self.client.force_login(user)
        self.set_aside("accounts_user")
        self.assertContains(self.client.get("/"), "It runs.")

    def test_a_connection_that_broke_is_not_kept(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pid = cursor.fetchone()[0]
        other = connection.copy()
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        other.close()
        with self.assertLogs("core.middleware", "WARNING"):
            self.assertEqual(self.client.get("/readyz").status_code, 503)
        self.assertEqual(self.client.get("/readyz").status_code, 200)
