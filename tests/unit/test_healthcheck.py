"""The container is healthy when its server serves, and unhealthy with the reason."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fixed_answers import fixed_answer
from projects import REPOSITORY

SCRIPT = REPOSITORY / "healthcheck.py"


def answering(status: int, body: str) -> AbstractContextManager[tuple[int, list[str]]]:
    """A stand-in for Gunicorn, giving everyone this answer; its port, and the paths asked for."""
    return fixed_answer(status, body, lambda asked: asked.path)


def checked(tmp_path: Path, port: int, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run a copy of the script that asks another port than 8000, as Docker would run it."""
    copy = tmp_path / "healthcheck.py"
    copy.write_text(SCRIPT.read_text().replace('("127.0.0.1", 8000)', f'("127.0.0.1", {port})'))
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(copy), *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.parametrize("status", [200, 301, 400, 401, 404])
def test_a_stand_in_server_that_answers_is_healthy(tmp_path: Path, status: int) -> None:
    with answering(status, "") as (port, asked):
        assert checked(tmp_path, port) == (0, f"{status} for /readyz\n")
    assert asked == ["/readyz"]


def test_a_stand_in_server_that_is_not_ready_is_unhealthy_with_its_reason(tmp_path: Path) -> None:
    with answering(503, '{"reason":\n "2 migrations pending"}') as (port, _):
        code, printed = checked(tmp_path, port)
    assert code == 1
    assert printed == '503 for /readyz: {"reason": "2 migrations pending"}\n'


def test_a_long_answer_of_a_stand_in_server_is_cut(tmp_path: Path) -> None:
    with answering(500, "x" * 100_000) as (port, _):
        code, printed = checked(tmp_path, port)
    assert code == 1
    assert len(printed) < 400


def test_no_server_is_unhealthy(tmp_path: Path) -> None:
    code, printed = checked(tmp_path, 1)
    assert code == 1
    assert "no answer for /readyz on port 1" in printed


def test_the_path_comes_from_the_argument_then_from_the_environment(tmp_path: Path) -> None:
    with answering(200, "") as (port, asked):
        checked(tmp_path, port, "/given", HEALTH_PATH="/set")
        checked(tmp_path, port, HEALTH_PATH="/set")
        checked(tmp_path, port, HEALTH_PATH="")
    assert asked == ["/given", "/set", "/readyz"]


def test_it_asks_another_address_that_it_is_given(tmp_path: Path) -> None:
    with answering(200, "") as (port, asked):
        assert checked(tmp_path, 9, "/page", "127.0.0.1", str(port)) == (0, "200 for /page\n")
    assert asked == ["/page"]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate that its own key has signed, with the key."""
    path = tmp_path / "certificate.pem"
    subject = ("-subj", "/CN=shop.example", "-addext", "subjectAltName=DNS:shop.example")
    made = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject)
    subprocess.run(
        [*made, "-keyout", path, "-out", tmp_path / "c"], check=True, capture_output=True
    )
    path.write_text(path.read_text() + (tmp_path / "c").read_text())
    return path


@contextmanager
def over_tls(certificate: Path) -> Iterator[int]:
    """A stand-in for the proxy, which answers 200 by HTTPS; yields its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.headers["Host"] == "shop.example" else 400)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def test_a_domain_is_asked_by_https_whoever_signed_its_certificate(
    tmp_path: Path, certificate: Path
) -> None:
    with over_tls(certificate) as port:
        found = checked(tmp_path, 9, "/", "127.0.0.1", str(port), "shop.example")
    assert found == (0, "200 for /\n")


def test_a_proxy_that_speaks_no_https_is_ill(tmp_path: Path, certificate: Path) -> None:
    with answering(200, "") as (port, _):
        code, printed = checked(tmp_path, 9, "/", "127.0.0.1", str(port), "shop.example")
    assert code == 1
    assert printed.startswith(f"no answer for / on port {port}: ")
