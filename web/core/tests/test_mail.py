"""EMAIL_URL, and what mail does without it."""

from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.test import SimpleTestCase

from config import mail
from config.mail import MailServer


class EmailUrlTests(SimpleTestCase):
    """The server that a URL names."""

    def test_each_scheme_has_its_port_and_its_tls(self) -> None:
        for url, port, use_tls, use_ssl in (
            ("smtp://mail.example.com", 25, False, False),
            ("smtp+tls://mail.example.com", 587, True, False),
            ("smtp+ssl://mail.example.com/", 465, False, True),
            ("smtps://mail.example.com:2465", 2465, False, True),
        ):
            with self.subTest(url):
                expected = MailServer("mail.example.com", port, "", "", use_tls, use_ssl)
                self.assertEqual(mail.server(url), expected)

    def test_user_and_password_may_have_any_character(self) -> None:
        for url in (
            "smtp://shop@example.com:p@ss%2Fw:%25@mail.example.com",
            "smtp://shop%40example.com:p%40ss%2Fw%3A%25@mail.example.com",
        ):
            found = mail.server(url)
            assert found
            self.assertEqual((found.user, found.password), ("shop@example.com", "p@ss/w:%"))
            self.assertNotIn("p@ss", repr(found))

    def test_without_a_url_there_is_none(self) -> None:
        self.assertIsNone(mail.server(""))

    def test_what_is_no_url_is_refused_and_never_quoted(self) -> None:
        for url in (
            "mail.example.com",
            "http://user:pa55@mail.example.com",
            "smtp://user:pa55@",
            "smtp://user:pa55@mail.example.com:port",
            "smtp://user:pa55/@mail.example.com",
            "smtp://user:pa55[@mail.example.com",
            "smtp://user:pa55@mail.example.com?tls=1",
        ):
            with self.subTest(url), self.assertRaises(ImproperlyConfigured) as caught:
                mail.server(url)
            self.assertNotIn("pa55", str(caught.exception))
            self.assertIsNone(caught.exception.__cause__)


class SenderTests(SimpleTestCase):
    """Whom mail comes from."""

    def test_it_is_what_was_given_or_the_mailbox_or_of_the_domain(self) -> None:
        mailbox = mail.server("smtp://shop@example.com:secret@mail.example.com")
        provider = mail.server("smtp://key:secret@mail.example.com")
        domains = ["www.example.org"]
        self.assertEqual(mail.sender("a@b.example", mailbox, domains), "a@b.example")
        self.assertEqual(mail.sender("", mailbox, domains), "shop@example.com")
        self.assertEqual(mail.sender("", provider, domains), "noreply@www.example.org")
        self.assertEqual(mail.sender("", None, []), "webmaster@localhost")


class NotSetUpTests(SimpleTestCase):
    """A site without EMAIL_URL."""

    message = EmailMessage("Your order", "Thank you.", to=["ada@example.com"])

    def test_to_send_is_an_error(self) -> None:
        with self.assertLogs("config.mail", "ERROR"), self.assertRaises(ImproperlyConfigured):
            mail.NotSetUp().send_messages([self.message])

    def test_what_may_fail_silently_is_in_the_log(self) -> None:
        with self.assertLogs("config.mail", "ERROR") as logs:
            sent = mail.NotSetUp(fail_silently=True).send_messages([self.message])
        self.assertEqual(sent, 0)
        self.assertIn("Your order", logs.output[0])
