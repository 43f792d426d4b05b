"""The site as a process of its own, on the production settings, asked over HTTP."""

import atexit
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import ClassVar

from django.contrib.auth import get_user_model
from django.db import connection
from django.test import TransactionTestCase, override_settings, tag
from django.urls import reverse

from core.tests.site import (
    NOBODY_LISTENS,
    SECRET_KEY,
    Answer,
    Site,
    collected,
    environment,
    running,
    running_database_url,
)

PASSWORD = "correct horse battery staple"


@cache  # it takes longer than all requests of a class
def static_root() -> str:
    """Collect the static files, which are removed when the tests end."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return collected(Path(folder.name))


@tag("slow")
@override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.PBKDF2PasswordHasher"])
class ProductionCase(TransactionTestCase):
    """Collected static files, and an environment."""

    static_root: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.static_root = static_root()

    def production(self, **variables: str) -> dict[str, str]:
        """Return the environment of a production site on the database of this test."""
        defaults = {
            "SECRET_KEY": SECRET_KEY,
            "DATABASE_URL": running_database_url(),
            "STATIC_ROOT": self.static_root,
            "APP_VERSION": "1.2.3",
        }
        return environment("config.settings.prod", **(defaults | variables))


class ProductionTests(ProductionCase):
    """What production promises, with HTTPS and without."""

    def log_in(self, site: Site, **headers: str) -> Answer:
        """Fill in the login form of the admin as a browser does, and return the answer."""
        page = reverse("admin:login")
        self.assertEqual(site.get(page, **headers).status, 200)
        form = {
            "username": "ADA@Example.com",
            "password": PASSWORD,
            "csrfmiddlewaretoken": site.cookie("csrftoken"),
            "next": "/",
        }
        return site.post(page, form, **headers)

    def test_without_a_domain_login_works_over_plain_http(self) -> None:
        get_user_model().objects.create_superuser("ada@example.com", PASSWORD)
        with running(self.production()) as site:
            answer = self.log_in(site, origin=site.url)
            self.assertEqual((answer.status, answer.headers["Location"]), (302, "/"), answer.body)
            self.assertNotIn("Strict-Transport-Security", answer.headers)
            home = site.get("/")
        self.assertIn("1.2.3", home.body)
        self.assertIn("none pending", home.body)

    def test_with_a_domain_everything_is_https(self) -> None:
        with running(self.production(DOMAIN="www.example.com")) as site:
            plain = site.get("/", host="www.example.com")
            self.assertEqual(plain.status, 301)
            self.assertEqual(plain.headers["Location"], "https://www.example.com/")

            secure = {"host": "www.example.com", "x_forwarded_proto": "https"}
            page = site.get(reverse("admin:login"), **secure)
            self.assertEqual(page.status, 200)
            self.assertEqual(page.headers["Strict-Transport-Security"], "max-age=2592000")
            self.assertIn("Secure", page.headers["Set-Cookie"])

    def test_with_a_domain_login_works_behind_the_proxy(self) -> None:
        get_user_model().objects.create_superuser("ada@example.com", PASSWORD)
        with running(self.production(DOMAIN="127.0.0.1")) as site:
            # A browser would send the secure cookies by HTTPS; this one is told to do so here.
            secure = {"x_forwarded_proto": "https"}
            site.get(reverse("admin:login"), **secure)
            for cookie in site.cookies:
                cookie.secure = False
            token = site.cookie("csrftoken")
            form = {
                "username": "ada@example.com",
                "password": PASSWORD,
                "csrfmiddlewaretoken": token,
            }
            good = site.post(reverse("admin:login"), form, origin="https://127.0.0.1", **secure)
            bad = site.post(reverse("admin:login"), form, origin="https://evil.example", **secure)
        self.assertEqual(good.status, 302, good.body)
        self.assertEqual(bad.status, 403)

    def test_health_answers_plain_http_under_any_name(self) -> None:
        with running(self.production(DOMAIN="www.example.com")) as site:
            for path in ("/healthz", "/readyz"):
                answer = site.get(path, host="10.0.0.7:8000")
                self.assertEqual(answer.status, 200)
                self.assertEqual(json.loads(answer.body), {"status": "ok"})

    def test_with_no_name_set_only_the_machine_itself_is_answered(self) -> None:
        with running(self.production()) as site:
            self.assertEqual(site.get("/").status, 200)
            refused = site.get("/", host="www.example.com")
        self.assertEqual(refused.status, 400)
        self.assertIn("ALLOWED_HOSTS", refused.body)

    def test_names_in_allowed_hosts_are_answered(self) -> None:
        with running(self.production(ALLOWED_HOSTS="a.example, b.example")) as site:
            for host in ("a.example", "b.example:8080"):
                self.assertEqual(site.get("/", host=host).status, 200)

    def test_static_files_have_names_to_keep_for_ever(self) -> None:
        with running(self.production()) as site:
            page = site.get("/").body
            start = page.index("/static/core/site.")
            name = page[start : page.index('"', start)]
            answer = site.get(name, accept_encoding="identity")
        self.assertRegex(name, r"site\.[0-9a-f]{12}\.css")
        self.assertIn("immutable", answer.headers["Cache-Control"])

    def test_what_browsers_and_robots_always_ask_for_is_there(self) -> None:
        with running(self.production()) as site:
            for path, kind in (("/favicon.ico", "image/"), ("/robots.txt", "text/plain")):
                answer = site.get(path)
                self.assertEqual(answer.status, 200)
                self.assertIn(kind, answer.headers["Content-Type"])

    def test_a_restart_of_the_database_costs_no_request_an_error(self) -> None:
        with running(self.production()) as site:
            self.assertEqual(site.get("/readyz").status, 200)
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'django'"
                    " AND pid <> pg_backend_pid()"
                )
                self.assertEqual(cursor.fetchall(), [(True,)])  # it was a connection that it kept
            self.assertEqual(site.get("/readyz").status, 200)


class DatabaseDownTests(ProductionCase):
    """Production while nothing listens where the database should be."""

    def test_readyz_says_so_without_saying_more(self) -> None:
        with running(self.production(DATABASE_URL=NOBODY_LISTENS)) as site:
            self.assertEqual(site.get("/healthz").status, 200)
            answer = site.get("/readyz")
        self.assertEqual(answer.status, 503)
        self.assertEqual(
            json.loads(answer.body),
            {
                "status": "unavailable",
                "reason": "database",
                "detail": "The database does not answer.",
            },
        )

    def test_the_home_page_says_so_to_strangers_and_to_who_was_logged_in(self) -> None:
        with running(self.production(DATABASE_URL=NOBODY_LISTENS)) as site:
            for cookie in ("", "sessionid=0123456789abcdef0123456789abcdef"):
                answer = site.get("/", cookie=cookie)
                self.assertEqual(answer.status, 200)
                self.assertIn("The database does not answer", answer.body)
                self.assertNotIn("127.0.0.1:1", answer.body)
                self.assertNotIn("port 1", answer.body)

    def test_the_development_home_page_says_why(self) -> None:
        env = environment("config.settings.dev", DATABASE_URL=NOBODY_LISTENS)
        with running(env) as site:
            answer = site.get("/")
        self.assertEqual(answer.status, 200)
        self.assertIn("Does not answer", answer.body)
        self.assertIn("Connection refused", answer.body)
        self.assertNotIn("pa55word", answer.body)

    def test_every_line_of_the_log_is_json_whatever_a_client_sends(self) -> None:
        with running(self.production(DATABASE_URL=NOBODY_LISTENS)) as site:
            site.get('/no-such-page%0A{"level":"FORGED"}?token=s3cret')
            site.get("/", host="evil.example")
            page = reverse("admin:login")
            broken = site.get(page)
            lines = site.output()
        self.assertEqual(broken.status, 500)
        self.assertIn("Something broke on our side", broken.body)
        for shown in (broken.body, "".join(lines)):
            self.assertNotIn("pa55word", shown)
            self.assertNotIn(SECRET_KEY, shown)
        entries = [json.loads(line) for line in lines]
        for entry in entries:
            self.assertLessEqual({"time", "level", "logger", "message"}, entry.keys())
        self.assertNotIn("FORGED", {entry["level"] for entry in entries})
        self.assertNotIn("s3cret", "".join(lines))
        error = entries[-1]
        self.assertEqual((error["method"], error["path"]), ("GET", page))
        self.assertIn("OperationalError", error["exception"])
