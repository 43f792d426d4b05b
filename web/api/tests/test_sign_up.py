"""POST /api/sign-up/."""

from typing import Any
from unittest.mock import patch

from django.contrib.auth import get_user_model

from api.tests.client import PASSWORD, ApiTestCase

User = get_user_model()


class SignUpTests(ApiTestCase):
    """How accounts are made."""

    def sign_up(self, **fields: Any) -> Any:
        form = {"email": "new@example.com", "password": PASSWORD} | fields
        return self.client.post("/api/sign-up/", form)

    def test_it_makes_a_user_who_can_log_in(self) -> None:
        response = self.sign_up(email="New@Example.com", name="New")
        self.assertEqual(response.status_code, 201, response.content)
        user = User.objects.get(email="new@example.com")
        self.assertEqual(response.json(), {"id": user.pk, "email": user.email, "name": "New"})
        self.assertTrue(user.check_password(PASSWORD))

    def test_it_gives_no_rights(self) -> None:
        self.sign_up(is_staff=True, is_superuser=True)
        user = User.objects.get(email="new@example.com")
        self.assertFalse(user.is_staff or user.is_superuser)

    def test_an_address_that_is_taken_is_refused_in_any_case(self) -> None:
        response = self.sign_up(email="ADA@example.com")
        self.assertContains(response, "exists already", status_code=400)
        self.assertTrue(User.objects.get(email="ada@example.com").check_password(PASSWORD))

    def test_an_address_that_somebody_else_takes_at_the_same_moment_is_refused(self) -> None:
        with patch("rest_framework.validators.UniqueValidator.__call__"):
            response = self.sign_up(email="ada@example.com")
        self.assertContains(response, "exists already", status_code=400)

    def test_a_weak_password_is_refused_with_the_reason(self) -> None:
        for password, reason in (("12345678", "too common"), ("new@example.com", "too similar")):
            with self.subTest(password):
                response = self.sign_up(password=password)
                self.assertContains(response, reason, status_code=400)
        self.assertFalse(User.objects.filter(email="new@example.com").exists())

    def test_what_is_no_address_is_refused(self) -> None:
        for email in ("", "ada", 5, None, "a\x00@example.com"):
            with self.subTest(email):
                self.assertEqual(self.sign_up(email=email).status_code, 400)

    def test_one_address_makes_ten_accounts_in_an_hour(self) -> None:
        statuses = [self.sign_up(email=f"new{n}@example.com").status_code for n in range(12)]
        self.assertEqual(statuses, [201] * 10 + [429] * 2)
        self.assertGreater(int(self.sign_up()["Retry-After"]), 3000)

    def test_a_forged_header_is_no_other_address(self) -> None:
        for n in range(10):
            self.sign_up(email=f"new{n}@example.com")
        response = self.client.post("/api/sign-up/", {}, headers={"x-forwarded-for": "192.0.2.9"})
        self.assertEqual(response.status_code, 429)
