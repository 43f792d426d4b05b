"""Mail that development sends is caught, and shown."""

import tempfile
from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.test import SimpleTestCase, override_settings
from django.urls import NoReverseMatch, reverse

from devmail import backend

EVIL = "<script>alert(1)</script><b>Hello</b>"


@override_settings(
    INSTALLED_APPS=[*settings.INSTALLED_APPS, "devmail"],
    ROOT_URLCONF="devmail.tests.urls",
)
class DevmailTests(SimpleTestCase):
    """The backend and its pages."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        override = override_settings(DEVMAIL_FOLDER=Path(folder.name) / "mail")
        override.enable()
        self.addCleanup(override.disable)

    def send(self, subject: str = "Grüße", html: str = "", bcc: tuple[str, ...] = ()) -> str:
        """Send one, and return the address of its page."""
        message = EmailMultiAlternatives(
            subject,
            "Open https://example.com/reset/1-2/ now.",
            "shop@example.com",
            to=["ada@example.com"],
            bcc=bcc,
            connection=get_connection("devmail.backend.MailboxBackend"),
        )
        if html:
            message.attach_alternative(html, "text/html")
        with self.assertLogs("devmail.backend", "INFO"):
            self.assertEqual(message.send(), 1)
        return reverse("devmail:mail", args=[backend.names()[0]])

    def test_an_empty_mailbox_says_so(self) -> None:
        self.assertContains(self.client.get("/mail/"), "Nothing yet.")

    def test_a_mail_is_listed_and_its_link_can_be_followed(self) -> None:
        page = self.send(bcc=("grace@example.com",))
        self.assertContains(self.client.get("/mail/"), f'href="{page}"')
        shown = self.client.get(page)
        self.assertContains(shown, "Grüße")
        self.assertContains(shown, "ada@example.com, grace@example.com")
        self.assertContains(shown, 'href="https://example.com/reset/1-2/"')

    def test_html_is_shown_in_a_frame_in_which_nothing_runs(self) -> None:
        page = self.send(html=EVIL)
        shown = self.client.get(page)
        self.assertNotContains(shown, "<script>")
        self.assertContains(shown, f'src="{page}html/"')
        framed = self.client.get(f"{page}html/")
        self.assertContains(framed, EVIL)
        self.assertIn("sandbox", framed["Content-Security-Policy"])
        self.assertNotIn("script", framed["Content-Security-Policy"])
        self.assertEqual(framed["X-Frame-Options"], "SAMEORIGIN")

    def test_the_newest_is_first_and_the_oldest_go(self) -> None:
        for number in range(backend.KEPT + 2):
            self.send(f"number {number}.")
        listed = self.client.get("/mail/").content.decode()
        newest = f"number {backend.KEPT + 1}."
        self.assertLess(listed.index(newest), listed.index(f"number {backend.KEPT}."))
        self.assertNotIn("number 1.", listed)

    def test_it_can_be_saved_and_all_can_be_deleted(self) -> None:
        page = self.send()
        saved = self.client.get(f"{page}raw/")
        self.assertEqual(saved["Content-Type"], "message/rfc822")
        self.assertRedirects(self.client.post("/mail/delete/"), "/mail/")
        self.assertEqual(self.client.get(page).status_code, 404)

    def test_no_name_leads_out_of_the_folder(self) -> None:
        for name in ("..%2f..%2fmanage", "../manage", "none"):
            self.assertEqual(self.client.get(f"/mail/{name}/raw/").status_code, 404)


class NotInProductionTests(SimpleTestCase):
    """The pages are of development alone."""

    def test_without_debug_they_are_not_there(self) -> None:
        with self.assertRaises(NoReverseMatch):
            reverse("devmail:mails")
