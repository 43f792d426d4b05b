"""POST /api/login/ and /api/logout/, and the tokens between them."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.limits import TRIES_FOR_A_NAME
from api.models import Token
from api.tests.client import PASSWORD, ApiTestCase

User = get_user_model()


class LoginTests(ApiTestCase):
    """A password for a token."""

    def log_in(self, email: str = "ada@example.com", password: str = PASSWORD) -> Any:
        return self.client.post("/api/login/", {"email": email, "password": password})

    def test_the_right_password_gets_a_token_that_works(self) -> None:
        answer = self.log_in(email="ADA@Example.com")
        self.assertEqual(answer["Cache-Control"], "no-store")
        key = answer.json()["token"]
        response = self.client.get("/api/me/", headers={"authorization": f"Bearer {key}"})
        self.assertEqual(response.json()["email"], "ada@example.com")

    def test_the_wrong_password_gets_none(self) -> None:
        response = self.log_in(password="wrong")
        self.assertEqual(response.status_code, 401)
        self.assertEqual(response.json(), {"detail": "Wrong email address or password."})

    def test_who_is_not_known_hears_the_same_as_who_is(self) -> None:
        known, unknown = self.log_in(password="wrong"), self.log_in(email="nobody@example.com")
        self.assertEqual(known.content, unknown.content)

    def test_who_may_not_log_in_gets_no_token(self) -> None:
        User.objects.filter(pk=self.ada.pk).update(is_active=False)
        self.assertEqual(self.log_in().status_code, 401)

    def test_after_ten_wrong_passwords_none_is_looked_at_any_more(self) -> None:
        statuses = [self.log_in(password=f"wrong-{n}").status_code for n in range(12)]
        self.assertEqual(statuses, [401] * 10 + [429] * 2)
        response = self.log_in()
        self.assertEqual((response.status_code, response["Retry-After"]), (429, "900"))
        self.assertIn("detail", response.json())

    def test_wrong_passwords_here_and_in_the_admin_count_together(self) -> None:
        for n in range(TRIES_FOR_A_NAME // 2):
            self.log_in(password=f"wrong-{n}")
            form = {"username": "ada@example.com", "password": f"also-wrong-{n}"}
            self.assertEqual(Client().post(reverse("admin:login"), form).status_code, 200)
        self.assertEqual(self.log_in().status_code, 429)

    def test_a_wrong_password_is_logged_with_the_address(self) -> None:
        with self.assertLogs("accounts.limits", "WARNING") as log:
            self.log_in(password="wrong")
        self.assertIn("Login failed from 127.0.0.1", log.output[0])

    def test_logins_are_limited_also_when_they_are_right(self) -> None:
        statuses = {self.log_in().status_code for _ in range(30)}
        self.assertEqual(statuses, {200})
        self.assertEqual(self.log_in().status_code, 429)


class TokenTests(ApiTestCase):
    """When a token counts."""

    def assert_status(self, status: int) -> None:
        self.assertEqual(self.client.get("/api/me/").status_code, status)

    def test_the_database_does_not_have_the_token(self) -> None:
        key = self.be(self.ada)
        with connection.cursor() as cursor:
            cursor.execute("SELECT api_token::text FROM api_token")
            self.assertNotIn(key, str(cursor.fetchall()))

    def test_it_does_not_count_after_logging_out_while_others_do(self) -> None:
        other = self.be(self.ada)
        self.be(self.ada)
        self.assertEqual(self.client.post("/api/logout/").status_code, 204)
        self.assert_status(401)
        self.client.credentials(HTTP_AUTHORIZATION=f"Bearer {other}")
        self.assert_status(200)

    def test_it_does_not_count_when_it_has_expired_and_goes_with_the_next_login(self) -> None:
        self.be(self.ada)
        Token.objects.update(expires=timezone.now() - timedelta(seconds=1))
        self.assert_status(401)
        self.be(self.ada)
        self.assertEqual(Token.objects.count(), 1)

    def test_it_does_not_count_after_a_change_of_the_password(self) -> None:
        self.be(self.ada)
        self.assert_status(200)
        self.ada.set_password("another horse battery staple")
        self.ada.save()
        self.assert_status(401)

    def test_it_outlives_a_secret_key_that_stays_as_a_fallback(self) -> None:
        self.be(self.ada)
        with self.settings(SECRET_KEY="new" * 20, SECRET_KEY_FALLBACKS=[]):
            self.assert_status(401)
        old = settings.SECRET_KEY
        with self.settings(SECRET_KEY="new" * 20, SECRET_KEY_FALLBACKS=[old]):
            self.assert_status(200)

    def test_it_does_not_count_for_who_may_not_log_in(self) -> None:
        self.be(self.ada)
        User.objects.filter(pk=self.ada.pk).update(is_active=False)
        self.assert_status(401)

    def test_what_is_no_token_is_refused(self) -> None:
        for header in ("Bearer", "Bearer x", "Bearer x y", "Bearer \xff", f"Bearer {'x' * 5000}"):
            with self.subTest(header):
                self.client.credentials(HTTP_AUTHORIZATION=header)
                self.assert_status(401)

    def test_a_user_can_be_deleted_by_a_site_that_does_not_know_of_tokens(self) -> None:
        self.be(self.ada)
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM accounts_user WHERE id = %s", [self.ada.pk])
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        self.assertEqual(Token.objects.count(), 0)
