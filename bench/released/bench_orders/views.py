# mypy: disable-error-code="import-not-found, union-attr"
"""What is asked while the site is released. Each answer is told from what was sent."""

import hashlib
import json
import time

from bench_pages.views import REVISION
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from bench_orders.models import Order

SLOW_SECONDS = 3


@csrf_exempt
@require_POST
def order(request: HttpRequest) -> HttpResponse:
    """Write a number to the table. The transaction is committed before the answer goes out."""
    sent = json.loads(request.body)
    Order.objects.create(number=sent["number"], note=sent["note"])
    return HttpResponse(f"{sent['number']} {hashlib.sha256(request.body).hexdigest()}")


@require_GET
def slow(request: HttpRequest) -> HttpResponse:
    """A request that a release meets in the middle."""
    time.sleep(SLOW_SECONDS)
    return HttpResponse("slow")


@csrf_exempt
@require_POST
def upload(request: HttpRequest) -> HttpResponse:
    """Tell the size and the checksum of a file."""
    file = request.FILES["file"]
    checksum = hashlib.sha256()
    for chunk in file.chunks():
        checksum.update(chunk)
    return HttpResponse(f"{file.size} {checksum.hexdigest()}")


@require_GET
def revision(request: HttpRequest) -> HttpResponse:
    """Which release answers."""
    return HttpResponse(REVISION)
