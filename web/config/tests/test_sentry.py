"""Errors at a server on loopback that speaks Sentry's protocol."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import brotli
from django.test import SimpleTestCase

from core.tests.site import manage, python

from .test_settings import production

BROKEN_PAGE = """
import django
django.setup()
from django.conf import settings
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import path

@transaction.non_atomic_requests  # there is no database here
def broken(request):
    password = "a-secret-of-the-code"
    raise RuntimeError("it broke")

def handler500(request):  # the starter's has static files
    return HttpResponse(status=500)

urlpatterns = [path("broken/", broken)]
settings.ROOT_URLCONF = "__main__"
visitor = Client(raise_request_exception=False, headers={"cookie": "other=a-cookie"})
answer = visitor.post("/broken/?page=2", {"card": "4111-1111"}, headers={"host": "localhost"})
assert answer.status_code == 500, answer
import sys
if "sentry_sdk" in sys.modules:
    sys.modules["sentry_sdk"].flush(20)
else:
    print("not loaded")
"""


# sentry-sdk takes brotli where it is installed, as WhiteNoise has it.
UNPACK = {"gzip": gzip.decompress, "br": brotli.decompress}


@contextmanager
def stand_in() -> Iterator[tuple[str, list[str]]]:
    """Run such a server; its DSN, and what it was sent: envelopes, lines of JSON."""
    taken: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name that http.server asks for
            body = self.rfile.read(int(self.headers["Content-Length"]))
            unpack = UNPACK[self.headers["Content-Encoding"]]
            taken.append(unpack(body).decode())
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield f"http://key@127.0.0.1:{server.server_address[1]}/1", taken
        server.shutdown()


def events(taken: list[str]) -> list[dict[str, Any]]:
    """Return the errors among what a server was sent."""
    items = [json.loads(line) for body in taken for line in body.splitlines() if line]
    return [item for item in items if "exception" in item]


class SentryTests(SimpleTestCase):
    """What is sent, and when."""

    def test_an_error_is_sent_with_its_release_and_nothing_of_the_visitor(self) -> None:
        with stand_in() as (dsn, taken):
            env = production(SENTRY_DSN=dsn, APP_VERSION="v1.2-3-gabc")
            result = python(env, "-c", BROKEN_PAGE)
        self.assertEqual(result.returncode, 0, result.stderr)
        (event,) = events(taken)
        self.assertEqual(event["release"], "v1.2-3-gabc")
        self.assertEqual(event["environment"], "production")
        self.assertEqual(event["exception"]["values"][-1]["value"], "it broke")
        self.assertEqual(event["transaction"], "/broken/")
        for secret in ("a-secret-of-the-code", "4111-1111", "a-cookie"):
            self.assertNotIn(secret, "".join(taken))

    def test_without_an_address_nothing_of_it_is_loaded(self) -> None:
        result = python(production(), "-c", BROKEN_PAGE)
        self.assertEqual(result.stdout.splitlines()[-1:], ["not loaded"], result.stderr)

    def test_a_wrong_address_is_refused_without_showing_it(self) -> None:
        result = manage(production(SENTRY_DSN="https://a-key/"), "check")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("SENTRY_DSN is not an address", result.stderr)
        self.assertNotIn("a-key", result.stderr)
