"""The page."""

from unittest import mock

from django.conf import settings
from django.contrib.auth import get_user_model
from django.shortcuts import resolve_url
from django.test import TestCase, override_settings
from django.urls import reverse

from notifications.models import Notification

User = get_user_model()
PAGE = reverse("notifications")


class PageTests(TestCase):
    """What a user sees of their notifications."""

    def setUp(self) -> None:
        self.ada = User.objects.create_user("ada@example.com")
        self.eve = User.objects.create_user("eve@example.com")
        for user, text in ((self.ada, "older"), (self.ada, "<b>newer</b>"), (self.eve, "for eve")):
            Notification.objects.create(recipient=user, text=text)
        self.client.force_login(self.ada)

    def test_strangers_are_sent_to_the_login(self) -> None:
        self.client.logout()
        response = self.client.get(PAGE)
        self.assertRedirects(response, f"{resolve_url(settings.LOGIN_URL)}?next={PAGE}")

    def test_users_see_their_own_the_newest_first(self) -> None:
        page = self.client.get(PAGE).content.decode()
        self.assertLess(page.index("&lt;b&gt;newer&lt;/b&gt;"), page.index("older"))
        self.assertNotIn("for eve", page)
        self.assertIn("2 not read yet", page)

    @override_settings(DEBUG=True)
    def test_the_home_page_leads_there(self) -> None:
        self.assertContains(self.client.get("/"), f'href="{PAGE}"')

    def test_the_page_names_the_last_one_for_whoever_asks_for_more(self) -> None:
        last = Notification.objects.of(self.ada)[0]
        self.assertContains(self.client.get(PAGE), f'data-last="{last.pk}"')
        self.client.force_login(User.objects.create_user("new@example.com"))
        self.assertContains(self.client.get(PAGE), 'data-last="0"')

    def test_with_the_part_live_the_page_is_told_of_new_ones(self) -> None:
        for on in (True, False):
            with mock.patch("django.apps.apps.is_installed", return_value=on):
                told = "live/live.js" in self.client.get(PAGE).content.decode()
            self.assertEqual(told, on)

    def test_all_are_marked_read_at_once_and_only_the_users_own(self) -> None:
        response = self.client.post(reverse("notifications-read"), follow=True)
        self.assertContains(response, "You have read everything")
        self.assertEqual(Notification.objects.unread().get().recipient, self.eve)

    def test_a_form_on_another_site_marks_nothing(self) -> None:
        browser = self.client_class(enforce_csrf_checks=True)
        browser.force_login(self.ada)
        self.assertEqual(browser.post(reverse("notifications-read")).status_code, 403)

    def test_the_page_is_within_the_policy(self) -> None:
        response = self.client.get(PAGE)
        self.assertIn("default-src 'self'", response["Content-Security-Policy"])
        self.assertNotRegex(response.content.decode(), r"<script(?![^>]*src=)|<style| on\w+=")
