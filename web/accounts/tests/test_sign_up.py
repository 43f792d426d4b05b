"""An account for whoever can read the mail that was sent to its address."""

import re
from datetime import timedelta
from unittest.mock import patch

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import mail, signing
from django.test import Client, RequestFactory, TestCase
from django.urls import reverse
from django.utils import timezone

from accounts import sign_up

User = get_user_model()
PASSWORD = "correct horse battery staple"
FORM = {"name": "New", "password1": PASSWORD, "password2": PASSWORD}
DEAD = "This link does not work"


class SignUpTests(TestCase):
    """From the mail to the first login."""

    def link(self, email: str = "New@Example.com") -> str:
        """Have a mail sent to `email`, and return the link in it."""
        mail.outbox.clear()
        sign_up.send_link(RequestFactory().post("/"), email)
        (message,) = mail.outbox
        self.assertEqual(message.to, [email.lower()])
        self.assertEqual(message.subject, "Your account at testserver")
        found = re.search(r"http://testserver(/\S+)", str(message.body))
        assert found
        return found[1]

    def test_the_link_makes_an_account_with_the_password_that_is_chosen_there(self) -> None:
        link = self.link()
        self.assertContains(self.client.get(link), "new@example.com")
        self.assertContains(self.client.post(link, FORM, follow=True), "Your account is ready")
        user = User.objects.get()
        self.assertEqual((user.email, user.name), ("new@example.com", "New"))
        login = {"username": "new@example.com", "password": PASSWORD}
        self.assertRedirects(self.client.post(reverse("login"), login), reverse("home"))

    def test_who_only_looks_at_the_link_changes_nothing(self) -> None:
        link = self.link()
        self.client.get(link)
        self.client.head(link)
        self.assertFalse(User.objects.exists())
        stranger = Client(enforce_csrf_checks=True)
        self.assertEqual(stranger.post(link, FORM).status_code, 403)
        self.assertContains(self.client.post(link, FORM, follow=True), "Your account is ready")

    def test_the_page_is_kept_by_nobody(self) -> None:
        response = self.client.get(self.link())
        self.assertIn("no-store", response["Cache-Control"])
        self.assertEqual(response["Referrer-Policy"], "same-origin")

    def test_the_account_has_no_rights_and_no_other_address(self) -> None:
        rights = {"is_staff": "on", "is_superuser": "on", "email": "boss@example.com"}
        self.client.post(self.link(), FORM | rights)
        user = User.objects.get()
        self.assertFalse(user.is_staff or user.is_superuser)
        self.assertEqual(user.email, "new@example.com")

    def test_a_weak_password_is_refused(self) -> None:
        for password, reason in (("12345678", "too common"), ("new@example.com", "too similar")):
            with self.subTest(password):
                form = FORM | {"password1": password, "password2": password}
                self.assertContains(self.client.post(self.link(), form), reason)
        self.assertFalse(User.objects.exists())

    def test_the_link_works_once(self) -> None:
        link = self.link()
        self.client.post(link, FORM)
        self.assertContains(self.client.get(link), DEAD)
        other = FORM | {"password1": "another horse battery", "password2": "another horse battery"}
        self.assertContains(self.client.post(link, other), DEAD)
        self.assertTrue(User.objects.get().check_password(PASSWORD))

    def test_of_two_links_the_first_that_is_used_counts(self) -> None:
        first, second = self.link(), self.link()
        self.client.post(second, FORM)
        self.assertContains(self.client.post(first, FORM), DEAD)

    def test_of_two_at_the_same_moment_one_counts(self) -> None:
        link = self.link()
        User.objects.create_user("new@example.com", PASSWORD)
        with patch("accounts.sign_up.is_taken", return_value=False):
            self.assertContains(self.client.post(link, FORM | {"name": "Second"}), DEAD)
        self.assertEqual(User.objects.get().name, "")

    def test_the_link_brings_no_account_back_that_was_deactivated(self) -> None:
        link = self.link()
        self.client.post(link, FORM)
        User.objects.update(is_active=False)
        self.assertContains(self.client.post(link, FORM), DEAD)
        self.assertFalse(User.objects.get().is_active)

    def test_the_link_ends_after_some_days(self) -> None:
        link = self.link()
        days = timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT)
        for age, answer in ((days - timedelta(minutes=1), "Your account"), (days * 1.01, DEAD)):
            later = (timezone.now() + age).timestamp()
            with self.subTest(age), patch("django.core.signing.time.time", return_value=later):
                self.assertContains(self.client.get(link), answer)

    def test_what_nobody_signed_for_this_page_is_no_link(self) -> None:
        good = self.link()
        for token in (
            "x",
            good.split("/")[-2][:-1],
            signing.dumps("new@example.com"),  # signed for something else
        ):
            with self.subTest(token):
                url = reverse("sign_up", kwargs={"token": token})
                self.assertContains(self.client.post(url, FORM), DEAD)
        self.assertFalse(User.objects.exists())

    def test_the_owner_of_an_address_that_is_taken_is_told_so(self) -> None:
        User.objects.create_user("ada@example.com", PASSWORD)
        self.assertEqual(self.link("ADA@example.com"), reverse("login"))
        self.assertIn("has an account already", str(mail.outbox[0].body))
        self.assertIn(reverse("password_reset"), str(mail.outbox[0].body))
