"""A web server that gives everyone the same answer, for what asks one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

Noted = TypeVar("Noted")


@contextmanager
def fixed_answer(
    status: int, body: str, note: Callable[[BaseHTTPRequestHandler], Noted]
) -> Iterator[tuple[int, list[Noted]]]:
    """Answer so on a free port; yields it, and what `note` makes of each request."""
    asked: list[Noted] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(note(self))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        server.server_close()
