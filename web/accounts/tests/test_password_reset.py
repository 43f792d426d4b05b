"""A new password for whoever has forgotten the old one."""

import re
import threading
from collections.abc import Sequence
from typing import ClassVar

from django.contrib.auth import get_user_model
from django.core import mail
from django.core.cache import caches
from django.core.mail.backends import locmem
from django.test import TestCase, override_settings
from django.urls import reverse

from accounts import forms, limits

NEW = "another correct horse battery"


class SlowServer(locmem.EmailBackend):
    """A mail server that takes nothing before `ready` is set."""

    ready: ClassVar[threading.Event]

    def send_messages(self, messages: Sequence[mail.EmailMessage]) -> int:
        """Wait, and send."""
        self.ready.wait(60)
        return int(super().send_messages(messages))


def wait_for_mail() -> None:
    """Until everything is sent that was asked for."""
    for thread in threading.enumerate():
        if thread.name == forms.SENDER:
            thread.join()


class PasswordResetTests(TestCase):
    """From the login page to the new password."""

    def setUp(self) -> None:
        caches["logins"].clear()
        self.user = get_user_model().objects.create_user("ada@example.com", "forgotten before")

    def ask(self, address: str = "ADA@example.com") -> None:
        """Fill in the form, whose answer is the same for everyone."""
        answer = self.client.post(reverse("password_reset"), {"email": address}, follow=True)
        self.assertContains(answer, "Look into your mail")
        wait_for_mail()

    def link(self) -> str:
        """Return the link in the one mail that was sent."""
        (message,) = mail.outbox
        self.assertEqual(message.subject, "A new password for testserver")
        found = re.search(r"http://testserver(/\S+)", str(message.body))
        assert found
        return found[1]

    def test_each_login_page_has_a_link_to_it(self) -> None:
        self.assertContains(self.client.get(reverse("login")), reverse("password_reset"))
        self.assertContains(self.client.get("/admin/login/"), reverse("admin_password_reset"))

    def test_the_link_in_the_mail_sets_a_password_once(self) -> None:
        self.ask()
        page = self.client.get(self.link(), follow=True)
        form = {"new_password1": NEW, "new_password2": NEW}
        answer = self.client.post(page.redirect_chain[-1][0], form, follow=True)
        self.assertContains(answer, "Your password is set")
        self.assertContains(self.client.get(self.link(), follow=True), "This link does not work")
        login = {"username": "Ada@Example.com", "password": NEW}
        self.assertRedirects(self.client.post(reverse("login"), login), reverse("home"))

    def test_a_weak_password_is_refused(self) -> None:
        self.ask()
        page = self.client.get(self.link(), follow=True)
        form = {"new_password1": "password", "new_password2": "password"}
        answer = self.client.post(page.redirect_chain[-1][0], form)
        self.assertContains(answer, "too common")

    def test_a_stranger_does_not_learn_who_has_an_account(self) -> None:
        self.ask("nobody@example.com")
        self.assertEqual(mail.outbox, [])

    @override_settings(EMAIL_BACKEND="accounts.tests.test_password_reset.SlowServer")
    def test_the_time_that_a_mail_takes_does_not_tell_that_there_is_an_account(self) -> None:
        SlowServer.ready = threading.Event()
        answer = self.client.post(reverse("password_reset"), {"email": "ada@example.com"})
        self.assertEqual((answer.status_code, mail.outbox), (302, []))
        SlowServer.ready.set()
        wait_for_mail()
        self.assertEqual(len(mail.outbox), 1)

    def test_nobody_can_have_a_mailbox_flooded(self) -> None:
        with self.assertLogs("accounts.views", "WARNING"):
            for _ in range(limits.MAILS_TO_A_NAME + 2):
                self.ask()
        self.assertEqual(len(mail.outbox), limits.MAILS_TO_A_NAME)

    @override_settings(MAIL_IS_SET_UP=False)
    def test_a_site_that_cannot_send_mail_says_so(self) -> None:
        page = self.client.get(reverse("password_reset"))
        self.assertContains(page, "This site cannot send mail yet")
        self.assertNotContains(page, "<form")
