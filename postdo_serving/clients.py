"""Who asks: the address of a visitor, told by the proxy and by nobody else.

Every user of the host reaches the containers' ports. What they write into X-Forwarded-* would be
believed: another address in the log, HTTPS where there is none.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import time
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Any

REMEMBERED_SECONDS = 10.0  # a proxy that was made anew has another address
STRANGER_SECONDS = 1.0  # between two looks at whether an unknown address is that
SPOKEN_FOR = ("X-FORWARDED-", "X-REAL-IP", "FORWARDED")


class Proxies:
    """The machines with these names, which forward the requests of others."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Read POSTDO_PROXIES: names with spaces between them. Unset: only this machine counts."""
        self._names = environment.get("POSTDO_PROXIES", "").split()
        self._addresses: frozenset[str] = frozenset()
        self._looked_up = -REMEMBERED_SECONDS
        self._lock = Lock()

    def include(self, address: str) -> bool:
        """Whether this address belongs to one of them, or to this container itself."""
        try:
            if ipaddress.ip_address(address).is_loopback:
                return True
        except ValueError:
            return False
        with self._lock:
            known = address in self._addresses
            if time.monotonic() - self._looked_up >= (
                REMEMBERED_SECONDS if known else STRANGER_SECONDS
            ):
                self._look_up()
            return address in self._addresses

    def _look_up(self) -> None:
        found: set[str] = set()
        for name in self._names:
            with contextlib.suppress(OSError):
                found.update(str(info[4][0]) for info in socket.getaddrinfo(name, None))
        # None found: the names cannot be looked up now, which says nothing of who they are.
        self._addresses = frozenset(found) or self._addresses
        self._looked_up = time.monotonic()


@contextlib.contextmanager
def named(req: Any, conn: Any, proxies: Proxies) -> Iterator[None]:
    """Give the connection the visitor's address inside the block.

    The proxy names the visitor in a header. Such headers of anybody else are removed, because
    anybody can claim an address.
    """
    peer = conn.client
    address = peer[0] if isinstance(peer, tuple) else ""
    if proxies.include(address):
        visitor = _visitor(req)
        if visitor:
            conn.client = (visitor, 0)
    else:
        req.headers = [field for field in req.headers if not field[0].startswith(SPOKEN_FOR)]
        req.scheme = "http"
    try:
        yield
    finally:
        conn.client = peer  # the proxy's next request on this connection is another visitor's


def _visitor(req: Any) -> str:
    """Return the address in X-Forwarded-For, of which proxy/Caddyfile writes exactly one."""
    for name, value in req.headers:
        if name == "X-FORWARDED-FOR":
            with contextlib.suppress(ValueError):
                return str(ipaddress.ip_address(value.split(",")[0].strip()))
    return ""
