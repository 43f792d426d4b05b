"""The measured pages: the same list of twenty names, from a constant and from the database."""

from django.contrib.auth.models import Permission
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt

REVISION = "0"
LARGE = 5_000_000  # bytes; `python3 -m bench slow --megabytes` changes it

LENGTH = 20
NAMES = [f"Can change thing {number}" for number in range(LENGTH)]


@transaction.non_atomic_requests  # else ATOMIC_REQUESTS would go to the database here too
def plain(request: HttpRequest) -> HttpResponse:
    """A page that needs no database."""
    return page(request, NAMES)


def query(request: HttpRequest) -> HttpResponse:
    """A page that needs one SELECT."""
    return page(
        request, list(Permission.objects.order_by("pk").values_list("name", flat=True)[:LENGTH])
    )


@transaction.non_atomic_requests
def large(request: HttpRequest) -> HttpResponse:
    """A download."""
    return HttpResponse(b"x" * LARGE, content_type="application/octet-stream")


@csrf_exempt
@transaction.non_atomic_requests
def upload(request: HttpRequest) -> HttpResponse:
    """How many bytes came."""
    size = 0
    while piece := request.read(64 * 1024):
        size += len(piece)
    return HttpResponse(str(size))


def page(request: HttpRequest, names: list[str]) -> HttpResponse:
    """The page, with the revision of this file in a header, to see a change from outside."""
    response = render(request, "bench_pages/page.html", {"names": names})
    response["X-Revision"] = REVISION
    return response
