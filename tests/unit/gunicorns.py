"""Gunicorn with the kit's configuration, as a server of its own for a test."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from projects import REPOSITORY

CONFIGURATION = REPOSITORY / "gunicorn.conf.py"
START_SECONDS = 20.0

APPLICATION = """
import pathlib
import time
import urllib.parse


def application(environ, start_response):
    query = urllib.parse.parse_qs(environ["QUERY_STRING"])
    if "seconds" in query:
        pathlib.Path("busy").touch()
        time.sleep(float(query["seconds"][0]))
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""

GUNICORN = [sys.executable, "-m", "gunicorn"]
ENVIRONMENT = {
    "WSGI_APPLICATION": "app:application",
    "WEB_CONCURRENCY": "2",
    "WEB_THREADS": "2",
    "PYTHONPATH": str(REPOSITORY),  # as in the image, where it is /opt/kit
}


class Server:
    """Gunicorn with our configuration, on a free port."""

    def __init__(
        self, folder: Path, configuration: Path = CONFIGURATION, **environment: str
    ) -> None:
        application = folder / "app.py"
        if not application.exists():
            application.write_text(APPLICATION)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.log = folder / "log"
        self.busy = folder / "busy"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*GUNICORN, "--config", str(configuration), "--bind", f"127.0.0.1:{self.port}"],
                cwd=folder,
                env={**os.environ, **ENVIRONMENT, **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                assert self.get("/first") == (200, b"ok")
            except OSError:
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.05)
            else:
                return

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        connection.request("GET", path, headers={"Connection": "close", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def send(self, raw: bytes) -> bytes:
        """Send these bytes and no others; returns the beginning of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), START_SECONDS) as client:
            client.sendall(raw)
            client.shutdown(socket.SHUT_WR)
            return client.recv(200)

    def stop(self) -> float:
        """SIGTERM; returns the seconds until it has ended."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(START_SECONDS)
        return time.monotonic() - begin

    def lines(self) -> list[dict[str, Any]]:
        """The log. Fails if a line of it is no JSON object."""
        entries = [json.loads(line) for line in self.log.read_bytes().split(b"\n") if line]
        assert all(isinstance(entry, dict) for entry in entries)
        return entries


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not file.exists():
        assert time.monotonic() < deadline, f"{file.name} did not appear"
        time.sleep(0.01)


@contextmanager
def serving(
    folder: Path, configuration: Path = CONFIGURATION, **environment: str
) -> Iterator[Server]:
    """A server that answers; it is gone afterwards."""
    running = Server(folder, configuration, **environment)
    try:
        running.wait()
        yield running
    finally:
        running.process.kill()
        running.process.wait()
