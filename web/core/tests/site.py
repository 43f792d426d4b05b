"""Run this project as a process of its own, with exactly the environment that a test wants."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.cookiejar import CookieJar
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, Request, build_opener

from django.conf import settings
from django.db import connection

SECRET_KEY = "only-for-the-tests-" + "abcdefghij" * 4
NOBODY_LISTENS = "postgres://somebody:pa55word@127.0.0.1:1/site"  # port 1: never in use

# Set but empty, which counts as not set, so that no .env of the developer's fills them in.
EMPTY = """
    ALLOWED_HOSTS APP_REVISION APP_VERSION COMPOSE_PROFILES CONN_MAX_AGE CSRF_TRUSTED_ORIGINS
    DATABASE_URL DATABASE_URL_FILE DEBUG DEFAULT_FROM_EMAIL DOMAIN EMAIL_URL EMAIL_URL_FILE
    HSTS_INCLUDE_SUBDOMAINS HSTS_PRELOAD HSTS_SECONDS LOG_LEVEL MEDIA_ROOT PGADMIN_URL
    POSTDO_MODE POSTGRES_DB POSTGRES_PASSWORD POSTGRES_USER PRIVATE_MEDIA_ROOT SECRET_KEY
    SECRET_KEY_FALLBACKS SECRET_KEY_FILE STATIC_ROOT TIME_ZONE X_ACCEL_REDIRECT
"""


def environment(settings_module: str, **variables: str) -> dict[str, str]:
    """Return an environment with `variables` in it, and nothing else of the project's."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return (
        kept
        | dict.fromkeys(EMPTY.split(), "")
        | {"DJANGO_SETTINGS_MODULE": settings_module, "PYTHONDONTWRITEBYTECODE": "1"}
        | variables
    )


def manage(env: Mapping[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run manage.py with exactly the environment `env`; return its status and output."""
    return python(env, "manage.py", *arguments)


def python(env: Mapping[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Python in the project's folder, with exactly the environment `env`."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=settings.BASE_DIR,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def running_database_url() -> str:
    """Return the URL of the database that the running test uses."""
    database = connection.settings_dict
    user, password, name = (
        quote(str(database[key]), safe="") for key in ("USER", "PASSWORD", "NAME")
    )
    return f"postgres://{user}:{password}@{database['HOST']}:{database['PORT'] or 5432}/{name}"


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: Message
    body: str


class NoRedirects(HTTPRedirectHandler):
    """Show redirects to the test instead of following them."""

    def redirect_request(self, *_: object) -> None:
        """Follow nothing."""


class Site:
    """A running site, and a browser of sorts that keeps its cookies."""

    def __init__(self, port: int, output: IO[str]) -> None:
        """Remember where it listens (127.0.0.1, `port`) and where its output goes."""
        self.url = f"http://127.0.0.1:{port}"
        self.cookies = CookieJar()
        self._output = output
        self._opener = build_opener(NoRedirects, HTTPCookieProcessor(self.cookies))

    def get(self, path: str, **headers: str) -> Answer:
        """GET `path`; a keyword such as ``x_forwarded_proto`` is a header."""
        return self._send(Request(self.url + path), headers)

    def post(self, path: str, form: Mapping[str, str], **headers: str) -> Answer:
        """POST `form` to `path`."""
        return self._send(Request(self.url + path, data=urlencode(form).encode()), headers)

    def cookie(self, name: str) -> str:
        """Return the value of the cookie `name`, or nothing."""
        return next((cookie.value or "" for cookie in self.cookies if cookie.name == name), "")

    def output(self) -> list[str]:
        """Return the lines that the process has written so far."""
        self._output.seek(0)
        return self._output.read().splitlines()

    def _send(self, request: Request, headers: Mapping[str, str]) -> Answer:
        for name, value in headers.items():
            request.add_header(name.replace("_", "-").title(), value)
        try:
            response = self._opener.open(request, timeout=30)
        except HTTPError as error:
            response = error
        with response:
            return Answer(
                response.status, response.headers, response.read().decode(errors="replace")
            )


@contextmanager
def running(env: Mapping[str, str]) -> Iterator[Site]:
    """Serve the project with exactly the environment `env` until the block ends."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "core.tests.serve", str(listener.fileno())],
            cwd=settings.BASE_DIR,
            env=dict(env),
            stdout=output,
            stderr=output,
            pass_fds=[listener.fileno()],
        )
        listener.close()  # so that a process that dies at once refuses the request
        try:
            yield Site(port, output)
        finally:
            process.terminate()
            process.wait(timeout=30)


def collected(folder: Path) -> str:
    """Collect the static files as the image build does, below `folder`; return STATIC_ROOT."""
    root = folder / "static"
    env = environment(
        "config.settings.prod",
        SECRET_KEY=SECRET_KEY,
        DATABASE_URL=NOBODY_LISTENS,
        STATIC_ROOT=str(root),
    )
    result = manage(env, "collectstatic", "--noinput")
    if result.returncode:
        raise AssertionError(result.stdout + result.stderr)
    return str(root)
