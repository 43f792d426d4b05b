"""postdo_serving/clients.py: the proxy is believed, and nobody else."""

from __future__ import annotations

import socket
import time
from types import SimpleNamespace

import pytest

from postdo_serving.clients import Proxies, named

HEADERS = [
    ("HOST", "x"),
    ("X-FORWARDED-FOR", "192.0.2.7"),
    ("X-FORWARDED-PROTO", "https"),
    ("FORWARDED", "for=192.0.2.7"),
    ("X-REAL-IP", "192.0.2.7"),
]


def request(*headers: tuple[str, str]) -> SimpleNamespace:
    """What Gunicorn has read of a request."""
    return SimpleNamespace(headers=list(headers or HEADERS), scheme="https")


def proxies() -> tuple[Proxies, str]:
    """The address of this machine's own name counts as a proxy's."""
    name = socket.gethostname()
    return Proxies({"POSTDO_PROXIES": f"no-such-name.invalid {name}"}), socket.gethostbyname(name)


def test_the_proxy_is_believed_and_its_visitor_is_who_asks() -> None:
    known, address = proxies()
    req, conn = request(), SimpleNamespace(client=(address, 1234))

    with named(req, conn, known):
        assert conn.client == ("192.0.2.7", 0)
        assert (req.headers, req.scheme) == (HEADERS, "https")
    assert conn.client == (address, 1234), "the next request is another visitor's"


@pytest.mark.parametrize("address", ["198.51.100.9", "172.18.0.1", "2001:db8::1", "not-an-address"])
def test_nobody_else_is_believed(address: str) -> None:
    known, _ = proxies()
    req, conn = request(), SimpleNamespace(client=(address, 1234))

    with named(req, conn, known):
        assert conn.client == (address, 1234)
        assert (req.headers, req.scheme) == ([("HOST", "x")], "http")


@pytest.mark.parametrize(("seconds_ago", "believed"), [(0.0, False), (2.0, True)])
def test_a_proxy_with_a_new_address_is_believed_again_within_a_second(
    seconds_ago: float, believed: bool
) -> None:
    """Looked up for an address that nobody knows, but not for each of its requests."""
    known = Proxies({"POSTDO_PROXIES": "203.0.113.5"})  # what its name is looked up as, now
    known._addresses = frozenset({"198.51.100.9"})  # what it was
    known._looked_up = time.monotonic() - seconds_ago

    assert known.include("203.0.113.5") is believed
    assert known.include("198.51.100.9") is not believed


def test_without_names_only_this_container_is_believed() -> None:
    assert Proxies({}).include("127.0.0.1")
    assert Proxies({}).include("::1")
    assert not Proxies({}).include("198.51.100.9")


@pytest.mark.parametrize("claimed", ["", "unknown", "<script>", "1.2.3"])
def test_what_is_no_address_is_nobodys(claimed: str) -> None:
    req, conn = request(("X-FORWARDED-FOR", claimed)), SimpleNamespace(client=("127.0.0.1", 1))

    with named(req, conn, Proxies({})):
        assert conn.client == ("127.0.0.1", 1)
