"""Ask a URL until it answers as wanted, and tell when that was."""

from __future__ import annotations

import http.client
import threading
import time
from urllib.parse import urlsplit

from bench.process import BenchError

PAUSE = 0.01  # seconds between two tries: the resolution of what is measured
ONE_TRY = 10.0  # seconds; Caddy holds a request for up to 5 while nobody answers behind it
OK = 200


class Watch(threading.Thread):
    """Asks for a page in the background, until it is there.

    With `revision`, until the page also says that it comes from that revision of the source. Each
    try is a connection of its own.
    """

    def __init__(self, url: str, revision: str | None = None) -> None:
        """Start at once."""
        super().__init__(daemon=True)
        self.url = url
        self.revision = revision
        self.seen = 0.0
        self.last = "nothing"
        self.over = threading.Event()
        self.start()

    def run(self) -> None:
        """Try until it is seen, or nobody wants to know any more."""
        while not self.over.is_set():
            if self.answered():
                self.seen = time.perf_counter()
                return
            time.sleep(PAUSE)

    def answered(self) -> bool:
        """One try."""
        where = urlsplit(self.url)
        connection = http.client.HTTPConnection(where.netloc, timeout=ONE_TRY)
        try:
            connection.request("GET", where.path)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            self.last = repr(error)
            return False
        finally:
            connection.close()
        self.last = f"status {response.status}, revision {response.getheader('X-Revision')}"
        return response.status == OK and self.revision in (None, response.getheader("X-Revision"))

    def wait(self, patience: float) -> float:
        """Return when it was seen (`time.perf_counter()`); `BenchError` after that many seconds."""
        self.join(patience)
        self.over.set()
        if not self.seen:
            raise BenchError(
                f"{self.url} did not answer as wanted within {patience:.0f} s; "
                f"the last answer: {self.last}",
                "mend what the site says, and repeat",
            )
        return self.seen
