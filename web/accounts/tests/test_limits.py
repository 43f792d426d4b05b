"""How many passwords may be tried."""

from typing import Any
from unittest.mock import patch

from asgiref.sync import async_to_sync
from django.contrib.auth import aauthenticate, authenticate, get_user_model
from django.core.cache import caches
from django.test import RequestFactory, TestCase
from django.urls import reverse

from accounts import limits

User = get_user_model()
PASSWORD = "correct horse battery staple"
HERE, THERE = "192.0.2.1", "198.51.100.7"


class LoginLimitTests(TestCase):
    """Tries are counted for an address and a name, and for an address."""

    def setUp(self) -> None:
        User.objects.create_superuser("ada@example.com", PASSWORD)
        User.objects.create_superuser("eve@example.com", PASSWORD)
        caches["logins"].clear()
        self.addCleanup(caches["logins"].clear)

    def log_in(self, password: str, address: str = HERE, name: str = "ada@example.com") -> Any:
        form = {"username": name, "password": password}
        return self.client.post(reverse("admin:login"), form, REMOTE_ADDR=address)

    def try_wrong(
        self, times: int, address: str = HERE, name: str = "ada@example.com"
    ) -> list[int]:
        return [self.log_in(f"wrong-{n}", address, name).status_code for n in range(times)]

    def test_thirty_wrong_passwords_are_ten_and_a_line_for_each(self) -> None:
        with self.assertLogs("accounts.limits", "WARNING") as log:
            statuses = self.try_wrong(30)
        self.assertEqual(statuses, [200] * 10 + [429] * 20)
        self.assertEqual(len([line for line in log.output if "Login failed from" in line]), 10)
        self.assertEqual(len([line for line in log.output if "not tried" in line]), 20)
        self.assertTrue(all(HERE in line for line in log.output))
        self.assertNotIn("ada@", "".join(log.output))

    def test_the_right_password_comes_too_late(self) -> None:
        self.try_wrong(10)
        response = self.log_in(PASSWORD)
        self.assertContains(response, "quarter of an hour", status_code=429)
        self.assertEqual(response["Retry-After"], "900")

    def test_the_name_counts_however_it_is_written(self) -> None:
        self.try_wrong(10)
        self.assertEqual(self.log_in(PASSWORD, name=" ADA@Example.com ").status_code, 429)

    def test_others_are_not_locked_out(self) -> None:
        self.try_wrong(10)
        self.assertEqual(self.log_in(PASSWORD, THERE).status_code, 302)
        self.client.logout()
        self.assertEqual(self.log_in(PASSWORD, name="eve@example.com").status_code, 302)

    def test_the_right_password_clears_the_count(self) -> None:
        for _ in range(3):
            self.assertEqual(self.try_wrong(9), [200] * 9)
            self.assertEqual(self.log_in(PASSWORD).status_code, 302)
            self.client.logout()

    def test_many_names_from_one_address_are_too_many(self) -> None:
        with patch.object(limits, "TRIES_FOR_AN_ADDRESS", 5):
            names = [f"user{n}@example.com" for n in range(8)]
            statuses = [self.try_wrong(1, name=name)[0] for name in names]
        self.assertEqual(statuses, [200] * 5 + [429] * 3)

    def test_whoever_is_refused_cannot_make_the_cache_forget_the_counts_of_others(self) -> None:
        """One that is full forgets its oldest entries: only tries that were looked at have one."""
        with (
            patch.object(limits, "TRIES_FOR_AN_ADDRESS", 5),
            patch.object(limits, "MAILS_FOR_AN_ADDRESS", 5),
            patch.object(caches["logins"], "_max_entries", 30),
        ):
            self.try_wrong(6)
            request = RequestFactory().get("/", REMOTE_ADDR=THERE)
            for n in range(60):
                self.try_wrong(1, THERE, f"user{n}@example.com")
                limits.may_ask_for_mail(request, f"user{n}@example.com")
            self.assertEqual(self.try_wrong(1), [429])

    def test_every_page_with_a_login_counts(self) -> None:
        for page in ("login", "admin:login"):
            caches["logins"].clear()
            form = {"username": "ada@example.com", "password": "wrong"}
            statuses = [self.client.post(reverse(page), form).status_code for _ in range(11)]
            self.assertEqual(statuses, [200] * 10 + [429], page)

    def test_a_login_to_an_account_of_ones_own_allows_no_more_tries_of_others(self) -> None:
        with patch.object(limits, "TRIES_FOR_AN_ADDRESS", 5):
            statuses = []
            for n in range(4):
                statuses += self.try_wrong(1, name=f"user{n}@example.com")
                self.assertEqual(self.log_in(PASSWORD, name="eve@example.com").status_code, 302)
                self.client.logout()
            statuses += [self.try_wrong(1, name=f"{name}@example.com")[0] for name in "abc"]
        self.assertEqual(statuses, [200] * 5 + [429] * 2)

    def test_an_address_of_ipv4_that_is_written_as_ipv6_is_itself(self) -> None:
        self.try_wrong(11, f"::ffff:{HERE}")
        self.assertEqual(self.try_wrong(1, f"::ffff:{THERE}"), [200])
        self.assertEqual(self.try_wrong(1, HERE), [429])

    def test_one_network_of_ipv6_is_one_address(self) -> None:
        statuses = [self.try_wrong(1, f"2001:db8::{n:x}")[0] for n in range(1, 13)]
        self.assertEqual(statuses, [200] * 10 + [429] * 2)
        self.assertEqual(self.try_wrong(1, "2001:db8:1::1"), [200])

    def test_asynchronous_logins_are_counted_too(self) -> None:
        request = RequestFactory().get("/", REMOTE_ADDR=HERE)
        self.try_wrong(10)
        with self.assertRaises(limits.TooManyTriesError):
            async_to_sync(aauthenticate)(request, username="ada@example.com", password=PASSWORD)

    def test_a_command_is_not_limited(self) -> None:
        for _ in range(12):
            self.assertIsNone(authenticate(username="ada@example.com", password="wrong"))
        self.assertIsNotNone(authenticate(username="ada@example.com", password=PASSWORD))
