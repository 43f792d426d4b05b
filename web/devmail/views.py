"""The pages that show caught mail. Development only: config/urls.py has them with DEBUG alone."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_POST, require_safe

from devmail import backend

# An HTML mail brings its own styles, and may have images; nothing in it runs.
POLICY_OF_MAIL = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data: http: https:; "
    "sandbox allow-popups"
)


@require_safe
@never_cache
@transaction.non_atomic_requests
def mails(request: HttpRequest) -> HttpResponse:
    """List what was caught, the newest first."""
    found = [_summary(name, _read(name)) for name in backend.names()]
    return render(request, "devmail/mails.html", {"mails": found})


@require_safe
@transaction.non_atomic_requests
def mail(request: HttpRequest, name: str) -> HttpResponse:
    """Show one: its headers, its text, and its HTML in a frame of its own."""
    message = _read(name)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    context = _summary(name, message) | {
        "text": text.get_content() if text else "",
        "has_html": html is not None,
        "files": [part.get_filename() or "without a name" for part in message.iter_attachments()],
    }
    return render(request, "devmail/mail.html", context)


@require_safe
@xframe_options_sameorigin
@transaction.non_atomic_requests
def html(request: HttpRequest, name: str) -> HttpResponse:
    """Return the HTML of one, by itself."""
    body = _read(name).get_body(("html",))
    if body is None:
        raise Http404
    return HttpResponse(body.get_content(), headers={"Content-Security-Policy": POLICY_OF_MAIL})


@require_safe
@transaction.non_atomic_requests
def raw(request: HttpRequest, name: str) -> HttpResponse:
    """Return one as it would have been sent, as a file for a mail program."""
    return HttpResponse(
        _bytes(name),
        content_type="message/rfc822",
        headers={"Content-Disposition": f'attachment; filename="{name}{backend.SUFFIX}"'},
    )


@require_POST
@transaction.non_atomic_requests
def delete(request: HttpRequest) -> HttpResponse:
    """Delete all of them."""
    for name in backend.names():
        (backend.folder() / f"{name}{backend.SUFFIX}").unlink(missing_ok=True)
    return HttpResponseRedirect(reverse("devmail:mails"))


def _bytes(name: str) -> bytes:
    try:
        return (backend.folder() / f"{name}{backend.SUFFIX}").read_bytes()
    except FileNotFoundError:
        raise Http404 from None


def _read(name: str) -> EmailMessage:
    message = message_from_bytes(_bytes(name), policy=default)
    assert isinstance(message, EmailMessage)  # noqa: S101  that policy's own class
    return message


def _summary(name: str, message: EmailMessage) -> dict[str, Any]:
    return {
        "name": name,
        "subject": message["Subject"] or "(no subject)",
        "sender": message["From"],
        "recipients": message["X-Recipients"],
        "date": message["Date"],
    }
