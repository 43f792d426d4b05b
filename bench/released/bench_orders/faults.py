"""The fault of a release, if it has one: for every so many requests of each process."""

import itertools
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

EVERY = 0  # 50: answers every fiftieth request with a 500

Answer = Callable[[HttpRequest], HttpResponse]


def middleware(get_response: Answer) -> Answer:
    """Count the requests, and fail some of them."""
    numbers = itertools.count(1)

    def answer(request: HttpRequest) -> HttpResponse:
        if EVERY and next(numbers) % EVERY == 0:
            # The header tells the bench that the answer comes from this release's own fault.
            return HttpResponse("wrong on purpose", status=500, headers={"X-Bench-Fault": "yes"})
        return get_response(request)

    return answer
