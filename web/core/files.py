"""Files that users upload: where private ones are kept, and how they are sent.

A plain ``models.FileField()`` or ``ImageField()`` is for files that everyone may have who knows
their address. For the others::

    invoice = models.FileField(storage=private_storage, upload_to="invoices/")

and a view that decides who gets it, and returns ``private_file(order.invoice)``.
"""

import mimetypes
from pathlib import PurePath
from urllib.parse import quote

from django.conf import settings
from django.contrib.auth.decorators import user_passes_test
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.db.models.fields.files import FieldFile
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
)
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

OTHER = "application/octet-stream"

# What a browser may show in place of saving it: it runs nothing in any of these.
SHOWN = frozenset(
    {
        *("image/jpeg", "image/png", "image/gif", "image/webp", "image/avif"),
        *("audio/mpeg", "audio/ogg", "audio/wav", "video/mp4", "video/webm"),
        *("application/pdf", "text/plain"),
    }
)

# Nothing runs in it, even if the type were wrong. Chrome shows no PDF that is sandboxed.
POLICY = (
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; "
    "frame-ancestors 'self'; sandbox"
)
POLICY_OF_PDF = "frame-ancestors 'self'"


def private_storage() -> Storage:
    """Return the storage of files that have no address of their own."""
    return storages["private"]


def private_file(file: FieldFile, *, name: str = "", download: bool = False) -> HttpResponseBase:
    """Return the response that sends `file`, to a visitor who may have it.

    name: what the visitor's copy is called; by default, what the file is called here.
    download: whether the browser is to save it, also if it could show it.

    In production the proxy sends the file, and this process is free again at once. An object store
    has an address for the file, which is valid for an hour.
    """
    return _response(file.storage, str(file.name), name, download)


@require_safe
@user_passes_test(lambda user: user.is_superuser)
def for_the_admin(request: HttpRequest, name: str) -> HttpResponseBase:
    """Send a private file to an administrator: where the admin's own links to such files lead."""
    storage = private_storage()
    if not storage.exists(name):
        raise Http404
    return _response(storage, name)


def _response(
    storage: Storage, path: str, name: str = "", download: bool = False
) -> HttpResponseBase:
    if not isinstance(storage, FileSystemStorage):
        return HttpResponseRedirect(storage.url(path), headers={"Cache-Control": "no-store"})
    name = name or PurePath(path).name
    kind, encoding = mimetypes.guess_type(name)
    if kind not in SHOWN or encoding is not None:
        kind, download = OTHER, True
    response: HttpResponseBase
    if settings.X_ACCEL_REDIRECT:
        response = HttpResponse(headers={"X-Accel-Redirect": quote(f"/{path}")})
    else:
        response = FileResponse(storage.open(path))
    response.headers["Content-Type"] = kind
    response.headers["Content-Disposition"] = content_disposition_header(download, name) or "inline"
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Content-Security-Policy"] = (
        POLICY_OF_PDF if kind == "application/pdf" else POLICY
    )
    return response
