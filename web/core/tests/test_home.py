"""The home page, in each mode, for each kind of visitor."""

from django.apps import apps
from django.contrib.auth import get_user_model
from django.test import TestCase, override_settings
from django.urls import reverse

FACTS = {
    "APP_MODE": "production",
    "APP_VERSION": "1.2.3",
    "APP_REVISION": "0123456789abcdef",
    "PGADMIN_URL": "http://127.0.0.1:5050/",
}


@override_settings(**FACTS, DEBUG=False)
class ProductionHomeTests(TestCase):
    """In production only the staff may know what runs."""

    def assert_nothing_is_told(self) -> None:
        response = self.client.get("/")
        self.assertContains(response, "It runs.")
        self.assertContains(response, reverse("admin:login"))
        for secret in ("1.2.3", "0123456789ab", "PostgreSQL", "Django", "Python", "5050"):
            self.assertNotContains(response, secret)

    def test_strangers_learn_that_it_runs_and_no_more(self) -> None:
        self.assert_nothing_is_told()

    def test_users_who_are_not_staff_learn_no_more_than_strangers(self) -> None:
        self.client.force_login(get_user_model().objects.create_user("ada@example.com"))
        self.assert_nothing_is_told()

    def test_staff_see_what_runs(self) -> None:
        user = get_user_model().objects.create_user("ada@example.com", is_staff=True)
        self.client.force_login(user)
        response = self.client.get("/")
        for fact in ("Production", "1.2.3", "0123456789ab", "PostgreSQL", "none pending"):
            self.assertContains(response, fact)
        self.assertNotContains(response, "0123456789abc")
        self.assertContains(response, FACTS["PGADMIN_URL"])
        self.assertNotContains(response, "Make it yours")

    def test_a_stale_session_cookie_does_no_harm(self) -> None:
        self.client.cookies["sessionid"] = "no-such-session"
        self.assert_nothing_is_told()

    def test_the_page_is_not_cached(self) -> None:
        self.assertIn("no-store", self.client.get("/")["Cache-Control"])

    def test_the_page_may_only_be_read(self) -> None:
        self.assertEqual(self.client.head("/").status_code, 200)
        self.assertEqual(self.client.post("/").status_code, 405)


@override_settings(**FACTS, DEBUG=True)
class DevelopmentHomeTests(TestCase):
    """In development everyone may know everything."""

    def test_everyone_sees_what_runs_and_where_to_go(self) -> None:
        for mode in ("development", "local"):
            with self.subTest(mode), override_settings(APP_MODE=mode):
                response = self.client.get("/")
                for fact in (mode.capitalize(), "1.2.3", "PostgreSQL", "none pending"):
                    self.assertContains(response, fact)
                self.assertContains(response, reverse("admin:index"))
                self.assertContains(response, FACTS["PGADMIN_URL"])
                self.assertContains(response, "Make it yours")

    def test_pgadmin_is_linked_only_where_there_is_one(self) -> None:
        with override_settings(PGADMIN_URL=""):
            self.assertNotContains(self.client.get("/"), "pgAdmin")

    def test_the_page_to_try_the_api_is_linked_only_where_there_is_one(self) -> None:
        on = int(apps.is_installed("api"))
        self.assertContains(self.client.get("/"), 'href="/api/docs/"', count=on)


class ErrorPageTests(TestCase):
    """Each error has a page in the look of the site."""

    def assert_page(self, path: str, status: int, words: str, **headers: str) -> None:
        response = self.client.get(path, headers=headers)
        self.assertContains(response, words, status_code=status)
        self.assertContains(response, "core/site", status_code=status)

    def test_a_page_that_is_not_there(self) -> None:
        self.assert_page("/no-such-page", 404, "There is no page here")

    def test_a_host_name_that_nobody_allowed_names_the_remedy(self) -> None:
        self.assert_page("/", 400, "ALLOWED_HOSTS", host="other.example")

    def test_a_form_without_its_token(self) -> None:
        client = self.client_class(enforce_csrf_checks=True)
        response = client.post(reverse("admin:login"), {"username": "x", "password": "y"})
        self.assertContains(response, "That form was out of date", status_code=403)


class ContentSecurityPolicyTests(TestCase):
    """The header, and where it must not be."""

    def test_pages_and_admin_have_the_policy(self) -> None:
        for path in ("/", reverse("admin:login"), "/no-such-page"):
            with self.subTest(path):
                policy = self.client.get(path)["Content-Security-Policy"]
                self.assertIn("default-src 'self'", policy)
                self.assertNotIn("unsafe", policy)

    def test_debug_pages_are_left_alone(self) -> None:
        with override_settings(DEBUG=True):
            response = self.client.get("/no-such-page")
        self.assertNotIn("Content-Security-Policy", response)

    def test_no_policy_no_header(self) -> None:
        with override_settings(CONTENT_SECURITY_POLICY=""):
            self.assertNotIn("Content-Security-Policy", self.client.get("/"))
