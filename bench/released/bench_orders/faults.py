"""The fault of a release, if it has one."""

import os
import random
import signal
import threading
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

SHARE = 0.0  # 0.02: answers 2 % of the requests with a 500, by chance
SECONDS = 0.0  # 10: ends so long after a visitor's first request
SERVER = 1  # Gunicorn, in its container

Answer = Callable[[HttpRequest], HttpResponse]


def middleware(get_response: Answer) -> Answer:
    """Fail some requests, or all of them at once."""
    visited = threading.Event()

    def answer(request: HttpRequest) -> HttpResponse:
        # The smoke test asks for pages of the starter alone.
        if not request.path.startswith("/bench/"):
            return get_response(request)
        if SECONDS and not visited.is_set():
            visited.set()
            end = threading.Timer(SECONDS, os.kill, (SERVER, signal.SIGQUIT))
            end.daemon = True
            end.start()
        if random.random() < SHARE:  # noqa: S311
            # The header tells the bench that the answer comes from this release's own fault.
            return HttpResponse("wrong on purpose", status=500, headers={"X-Bench-Fault": "yes"})
        return get_response(request)

    return answer
