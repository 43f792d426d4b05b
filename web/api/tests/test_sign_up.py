"""POST /api/sign-up/ and /api/sign-up/confirm/."""

import re
from datetime import timedelta
from smtplib import SMTPServerDisconnected
from typing import Any
from unittest.mock import patch

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.test import override_settings
from django.urls import resolve
from django.utils import timezone

from accounts.limits import MAILS_TO_A_NAME
from api.tests.client import PASSWORD, ApiTestCase

User = get_user_model()


class SignUpTests(ApiTestCase):
    """Who asks for an account, and what they are told. accounts/tests/ has what the link does."""

    def setUp(self) -> None:
        super().setUp()
        # On an error REST framework rolls back the transaction of a request. This view has none,
        # and the one that it finds here is the test's.
        rollback = patch("rest_framework.views.set_rollback")
        rollback.start()
        self.addCleanup(rollback.stop)

    def sign_up(self, email: Any = "new@example.com", **fields: Any) -> Any:
        return self.client.post("/api/sign-up/", {"email": email} | fields)

    def test_it_sends_a_link_and_makes_no_account_yet(self) -> None:
        response = self.sign_up("New@Example.com", password=PASSWORD, is_superuser=True)
        self.assertEqual(response.status_code, 202, response.content)
        self.assertEqual(response.json().keys(), {"detail"})
        (message,) = mail.outbox
        self.assertEqual(message.to, ["new@example.com"])
        self.assertIn("http://testserver/accounts/sign-up/", str(message.body))
        self.assertFalse(User.objects.filter(email="new@example.com").exists())
        login = {"email": "new@example.com", "password": PASSWORD}
        self.assertEqual(self.client.post("/api/login/", login).status_code, 401)

    def test_who_asks_again_gets_another_mail(self) -> None:
        self.assertEqual([self.sign_up().status_code for _ in range(2)], [202, 202])
        self.assertEqual(len(mail.outbox), 2)

    def test_a_stranger_does_not_learn_who_has_an_account(self) -> None:
        new, taken = self.sign_up(), self.sign_up("ADA@example.com")
        self.assertEqual(taken.status_code, new.status_code)
        self.assertEqual(taken.content, new.content)
        self.assertEqual([message.to for message in mail.outbox][-1], ["ada@example.com"])

    def test_what_is_no_address_is_refused(self) -> None:
        too_long_for_dns = f"ada@{'ü' * 63}.example"
        for email in ("", "ada", 5, None, "a\x00@example.com", "a\n@example.com", too_long_for_dns):
            with self.subTest(email):
                self.assertEqual(self.sign_up(email).status_code, 400)
        self.assertEqual(mail.outbox, [])

    def test_a_mail_server_that_fails_is_no_crash_and_the_next_try_counts(self) -> None:
        for error in (SMTPServerDisconnected("gone"), TimeoutError(), ConnectionRefusedError()):
            with (
                self.subTest(error),
                patch.object(EmailBackend, "send_messages", side_effect=error),
                self.assertLogs("api.views", "ERROR"),
            ):
                response = self.sign_up(f"{type(error).__name__}@example.com")
                self.assertContains(response, "could not be sent", status_code=503)
        self.assertEqual(self.sign_up("timeouterror@example.com").status_code, 202)

    def test_no_transaction_is_open_while_the_mail_server_is_waited_for(self) -> None:
        view = resolve("/api/sign-up/").func
        self.assertIn("default", view._non_atomic_requests)  # type: ignore[attr-defined]

    @override_settings(MAIL_IS_SET_UP=False)
    def test_a_site_that_cannot_send_mail_says_so(self) -> None:
        for email in ("new@example.com", "ada@example.com"):
            with self.subTest(email):
                self.assertContains(self.sign_up(email), "cannot send mail", status_code=503)

    def test_nobody_can_have_a_mailbox_flooded(self) -> None:
        for email in ("new@example.com", "ada@example.com"):
            with self.subTest(email):
                statuses = [self.sign_up(email).status_code for _ in range(MAILS_TO_A_NAME + 1)]
                self.assertEqual(statuses, [202] * MAILS_TO_A_NAME + [429])
        self.assertEqual(len(mail.outbox), 2 * MAILS_TO_A_NAME)

    def test_one_address_asks_for_ten_accounts_in_an_hour(self) -> None:
        statuses = [self.sign_up(f"new{n}@example.com").status_code for n in range(12)]
        self.assertEqual(statuses, [202] * 10 + [429] * 2)
        self.assertGreater(int(self.sign_up()["Retry-After"]), 3000)

    def test_a_forged_header_is_no_other_address(self) -> None:
        for n in range(10):
            self.sign_up(f"new{n}@example.com")
        response = self.client.post("/api/sign-up/", {}, headers={"x-forwarded-for": "192.0.2.9"})
        self.assertEqual(response.status_code, 429)


class ConfirmTests(ApiTestCase):
    """Who has the link makes the account by the API, in place of the page behind the link."""

    def token(self, email: str = "new@example.com") -> str:
        """Sign up, and return what the link in the mail has."""
        mail.outbox.clear()
        self.client.post("/api/sign-up/", {"email": email})
        found = re.search(r"/accounts/sign-up/([^/\s]+)/", str(mail.outbox[0].body))
        assert found
        return found[1]

    def confirm(self, token: Any, password: Any = PASSWORD, **fields: Any) -> Any:
        return self.client.post(
            "/api/sign-up/confirm/", {"token": token, "password": password} | fields
        )

    def log_in(self, password: str = PASSWORD) -> int:
        login = {"email": "new@example.com", "password": password}
        return int(self.client.post("/api/login/", login).status_code)

    def assert_dead(self, response: Any) -> None:
        self.assertEqual(response.status_code, 404, response.content)
        self.assertEqual(response.json(), {"detail": "This link does not count, or no longer."})

    def test_it_makes_the_account_which_can_log_in_then(self) -> None:
        token = self.token("New@Example.com")
        self.assertEqual(self.log_in(), 401)
        response = self.confirm(token, name="New")
        self.assertEqual(response.status_code, 201, response.content)
        user = User.objects.get(email="new@example.com")
        self.assertEqual(response.json()["id"], user.pk)
        self.assertEqual(response.json()["email"], "new@example.com")
        self.assertEqual(response.json()["name"], "New")
        self.assertEqual(self.log_in(), 200)

    def test_the_account_has_no_rights_and_no_other_address(self) -> None:
        rights = {"is_staff": True, "is_superuser": True, "email": "boss@example.com"}
        self.assertEqual(self.confirm(self.token(), **rights).status_code, 201)
        user = User.objects.get(email="new@example.com")
        self.assertFalse(user.is_staff or user.is_superuser)

    def test_a_weak_password_is_refused_with_the_reasons_and_the_token_counts_still(self) -> None:
        token = self.token()
        for password, reason in (("12345678", "too common"), ("new@example.com", "too similar")):
            with self.subTest(password):
                response = self.confirm(token, password)
                self.assertEqual(response.status_code, 400)
                self.assertIn(reason, " ".join(response.json()["password"]))
        self.assertEqual(self.confirm(token).status_code, 201)

    def test_the_token_works_once_here_and_on_the_page(self) -> None:
        token = self.token()
        self.assertEqual(self.confirm(token).status_code, 201)
        self.assert_dead(self.confirm(token, "another horse battery"))
        self.assertContains(self.client.get(f"/accounts/sign-up/{token}/"), "does not work")
        self.assertEqual(self.log_in(), 200)

    def test_of_two_at_the_same_moment_one_counts(self) -> None:
        token = self.token()
        User.objects.create_user("new@example.com", PASSWORD)
        with patch("accounts.sign_up.is_taken", return_value=False):
            self.assert_dead(self.confirm(token, "another horse battery"))
        self.assertEqual(self.log_in(), 200)

    def test_what_was_not_sent_or_is_too_old_is_refused(self) -> None:
        token = self.token()
        for other in ("x", token[:-1], token + "x"):
            with self.subTest(other):
                self.assert_dead(self.confirm(other))
        late = timezone.now() + timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT + 60)
        with patch("django.core.signing.time.time", return_value=late.timestamp()):
            self.assert_dead(self.confirm(token))
        self.assertFalse(User.objects.filter(email="new@example.com").exists())

    def test_what_is_missing_or_no_text_is_refused(self) -> None:
        token = self.token()
        for fields in ({"token": 5}, {"password": None}, {"password": ""}, {"name": "x" * 151}):
            with self.subTest(fields):
                self.assertEqual(self.confirm(**{"token": token, **fields}).status_code, 400)
