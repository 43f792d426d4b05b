"""POST /api/sign-up/."""

from smtplib import SMTPServerDisconnected
from typing import Any
from unittest.mock import patch

from django.contrib.auth import get_user_model
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.test import override_settings
from django.urls import resolve

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
