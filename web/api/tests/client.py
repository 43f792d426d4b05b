"""What the tests of the API share. Import it first: where the part is off, it skips the module."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from django.contrib.auth import get_user_model
from django.core.cache import caches
from rest_framework.test import APIClient, APITestCase
from rest_framework.throttling import SimpleRateThrottle

from accounts import limits
from accounts.models import User
from api.models import Token

PASSWORD = "correct horse battery staple"


@contextmanager
def without_throttles() -> Iterator[None]:
    """Answer any number of requests, and send any number of mails."""
    rates = SimpleRateThrottle.THROTTLE_RATES
    many = 1_000_000
    with (
        patch.dict(rates, dict.fromkeys(rates, f"{many}/min")),
        patch.multiple(limits, MAILS_TO_A_NAME=many, MAILS_FOR_AN_ADDRESS=many),
    ):
        yield


class ApiTestCase(APITestCase):
    """Two users, and counts that begin at zero."""

    client: APIClient

    def setUp(self) -> None:
        caches["logins"].clear()
        self.addCleanup(caches["logins"].clear)
        self.ada = get_user_model().objects.create_user("ada@example.com", PASSWORD, name="Ada")
        self.eve = get_user_model().objects.create_user("eve@example.com", PASSWORD)

    def be(self, user: User) -> str:
        """Send a token of `user` with every request from now on; return it."""
        key: str = Token.objects.issue(user)[0]
        self.client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
        return key
