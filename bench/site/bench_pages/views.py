"""The measured pages: the same list of twenty names, from a constant and from the database."""

from django.contrib.auth.models import Permission
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

REVISION = "0"

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


def page(request: HttpRequest, names: list[str]) -> HttpResponse:
    """The page, with the revision of this file in a header, to see a change from outside."""
    response = render(request, "bench_pages/page.html", {"names": names})
    response["X-Revision"] = REVISION
    return response
