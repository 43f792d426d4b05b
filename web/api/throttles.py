"""How many requests are answered. The rates are in ``config/settings/api.py``.

Wrong passwords have limits of their own (`accounts.limits`), which hold for every kind of login.
"""

from typing import TYPE_CHECKING

from django.core.cache import BaseCache, caches
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from accounts.limits import network

if TYPE_CHECKING:  # views ask for the throttles while they are imported
    from rest_framework.views import APIView


class AddressThrottle(SimpleRateThrottle):
    """Counts by the address of the visitor, whoever they say they are."""

    @property
    def cache(self) -> BaseCache:  # type: ignore[override]
        """Where wrong passwords are counted too: name a shared cache there to count together."""
        return caches["logins"]

    def get_cache_key(self, request: Request, view: "APIView") -> str:
        """Return where this request is counted."""
        return f"{self.scope}|{network(request)}"


class RequestThrottle(AddressThrottle):
    """All requests: of a user, else of an address."""

    scope = "requests"

    def get_cache_key(self, request: Request, view: "APIView") -> str:
        """Return where this request is counted."""
        if request.user and request.user.is_authenticated:
            return f"{self.scope}|user|{request.user.pk}"
        return super().get_cache_key(request, view)


class LoginThrottle(AddressThrottle):
    """Logins, right and wrong."""

    scope = "login"


class SignUpThrottle(AddressThrottle):
    """Mails with a link to a new account."""

    scope = "sign-up"
