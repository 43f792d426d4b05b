"""How many passwords may be tried, and a line in the log for each that was wrong."""

import hashlib
import ipaddress
import logging
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.signals import user_login_failed
from django.core.cache import caches
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.models import User

logger = logging.getLogger(__name__)

# Nobody who knows the password needs more, and no list of common passwords is done with so few.
# The second number is for all names together: a whole office may have one address.
TRIES_FOR_A_NAME = 10
TRIES_FOR_AN_ADDRESS = 100
FORGOTTEN_AFTER_SECONDS = 15 * 60

# Mails that a visitor can have sent to one address, and to all together, in the same time.
MAILS_TO_A_NAME = 3
MAILS_FOR_AN_ADDRESS = 20

IPV6_NETWORK = 64  # what one household or server has


class TooManyTriesError(Exception):
    """Another password is not looked at now, right or wrong."""


class LimitedBackend(ModelBackend):
    """Django's own backend, for as long as an address does not try too often.

    Counted by the address of the visitor, so that nobody at another address is locked out. Behind a
    proxy of one's own all visitors have its address, and share the counts. Each process has counts
    of its own unless CACHES["logins"] is one that they share.
    """

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        """Return the user, or None; raises `TooManyTriesError` without a look at the password."""
        if request is None:  # no visitor: a command
            return super().authenticate(request, username, password, **kwargs)
        name = username or str(kwargs.get("email", ""))
        of_name, of_address = _keys(request, name)
        if _are_too_many(of_name, TRIES_FOR_A_NAME, of_address, TRIES_FOR_AN_ADDRESS):
            logger.warning("Login not tried: too many wrong passwords from %s.", _address(request))
            raise TooManyTriesError
        user = super().authenticate(request, username, password, **kwargs)
        if user is not None:
            # The address gets back this one try, and no more: else whoever has an account could
            # log in to it now and then, and try passwords of all others without end.
            caches["logins"].delete(of_name)
            with suppress(ValueError):  # forgotten in between
                caches["logins"].decr(of_address)
        return user

    async def aauthenticate(self, request: HttpRequest | None, **credentials: Any) -> User | None:  # type: ignore[override]
        """Do the same for views that are asynchronous, which Django asks of another method."""
        return await sync_to_async(self.authenticate)(request, **credentials)


class TooManyTriesMiddleware:
    """Answer 429 where a login was not tried, whatever page or interface it came by."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Keep the next handler."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer in place of the view."""
        if not isinstance(exception, TooManyTriesError):
            return None
        response = render(request, "429.html", status=HTTPStatus.TOO_MANY_REQUESTS)
        response["Retry-After"] = str(FORGOTTEN_AFTER_SECONDS)
        return response


def may_ask_for_mail(request: HttpRequest, name: str) -> bool:
    """Count a mail that a visitor, who need not be logged in, wants sent to `name`."""
    of_name, of_address = (f"mail|{key}" for key in _keys(request, name))
    return not _are_too_many(of_name, MAILS_TO_A_NAME, of_address, MAILS_FOR_AN_ADDRESS)


@receiver(user_login_failed)
def tell_of_a_wrong_password(
    request: HttpRequest | None = None, credentials: dict[str, Any] | None = None, **_: object
) -> None:
    """Log the address, for whoever looks for attacks; not the name, which may be a password."""
    if request is not None:
        logger.warning("Login failed from %s.", _address(request))


def _address(request: HttpRequest) -> str:
    """The visitor's: Gunicorn's worker has it from the proxy and from nobody else."""
    return str(request.META.get("REMOTE_ADDR", ""))


def network(request: HttpRequest) -> str:
    """Return what counts as one visitor: an address of IPv4, a network of IPv6."""
    try:
        address = ipaddress.ip_address(_address(request))
    except ValueError:
        return _address(request)
    if not isinstance(address, ipaddress.IPv6Address):
        return str(address)
    if address.ipv4_mapped:  # all of these are in one network
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, IPV6_NETWORK), strict=False))


def _keys(request: HttpRequest, name: str) -> tuple[str, str]:
    """Where the tries of this address are counted: for the name, and for all names."""
    address = network(request)
    person = hashlib.sha256(name.strip().casefold().encode()).hexdigest()
    return f"{address}|{person}", address


def _are_too_many(of_name: str, for_a_name: int, of_address: str, for_an_address: int) -> bool:
    """Count one more; whether that is too many for the name or for the address.

    Of an address that has had its tries no further name is counted: a cache in memory forgets its
    oldest entries when it is full, and whoever could fill it would make it forget all counts.
    """
    return (
        caches["logins"].get(of_address, 0) >= for_an_address
        or _count(of_name) > for_a_name
        or _count(of_address) > for_an_address
    )


def _count(key: str) -> int:
    """Count one more, and return how many there are. Counted before the password is looked at."""
    cache = caches["logins"]
    if cache.add(key, 1, FORGOTTEN_AFTER_SECONDS):
        return 1
    try:
        return cache.incr(key)
    except ValueError:  # forgotten in between
        return 1
