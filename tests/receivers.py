"""Where alerts arrive in tests: a server of HTTP that keeps what it is sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: str

    @property
    def fields(self) -> dict[str, Any]:
        """What its JSON says."""
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Receiver:
    """A server on loopback; `status`: what it answers from now on."""

    address: str = ""
    status: int = 200
    requests: list[Received] = field(default_factory=list)

    def posts(self) -> list[Received]:
        """Without the pings of a heartbeat."""
        return [one for one in self.requests if one.method == "POST"]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Start one, for as long as the context lasts."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def _take(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
            found.requests.append(Received(self.command, self.path, dict(self.headers), body))
            said = b"ok" if found.status == 200 else b"no such channel"
            self.send_response(found.status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = _take  # noqa: N815  # the names that http.server asks for

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.address = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield found
        server.shutdown()
