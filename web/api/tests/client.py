"""What the tests of the API share. Import it first: where the part is off, it skips the module."""

from contextlib import AbstractContextManager
from unittest.mock import patch

from django.contrib.auth import get_user_model
from django.core.cache import caches
from rest_framework.test import APIClient, APITestCase
from rest_framework.throttling import SimpleRateThrottle

from accounts.models import User
from api.models import Token

PASSWORD = "correct horse battery staple"


def without_throttles() -> AbstractContextManager[object]:
    """Answer any number of requests."""
    rates = SimpleRateThrottle.THROTTLE_RATES
    return patch.dict(rates, dict.fromkeys(rates, "1000000/min"))


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
