"""Turn EMAIL_URL into Django's settings of a mail server."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

logger = logging.getLogger(__name__)

# Seconds until a server that does not answer counts as down; the visitor waits as long.
TIMEOUT = 10

# The default port of each, whether TLS begins by STARTTLS, and whether it is there at once.
SCHEMES = {
    "smtp": (25, False, False),
    "smtp+tls": (587, True, False),
    "smtp+ssl": (465, False, True),
    "smtps": (465, False, True),
}


@dataclass(frozen=True)
class MailServer:
    """Where mail is handed in; the fields are those of Django's settings."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)  # a page of errors shows settings
    use_tls: bool
    use_ssl: bool


def server(url: str) -> MailServer | None:
    """Return the server that `url` names; None without a URL. Raises `ImproperlyConfigured`."""
    if not url:
        return None
    try:
        parts = urlsplit(url)
        port, use_tls, use_ssl = SCHEMES[parts.scheme]
        port = parts.port or port
        host = parts.hostname
    except (ValueError, KeyError):  # not chained: the message may quote the URL
        raise ImproperlyConfigured(_HINT) from None
    if not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise ImproperlyConfigured(_HINT)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return MailServer(host, port, user, password, use_tls, use_ssl)


def sender(given: str, mail_server: MailServer | None, domains: Sequence[str]) -> str:
    """Return the address that mail comes from.

    `given`, if there is one. Else the user of the server if that is an address, since providers of
    mailboxes accept no other; else noreply@ the site's domain.
    """
    if given:
        return given
    if mail_server and "@" in mail_server.user:
        return mail_server.user
    return f"noreply@{domains[0]}" if domains else "webmaster@localhost"


class NotSetUp(BaseEmailBackend):
    """The backend of a site without EMAIL_URL: sending is an error, so that no mail is lost."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Send nothing, and say so in the log. Raises `ImproperlyConfigured` unless told not to."""
        for message in email_messages:
            logger.error("Not sent, because EMAIL_URL is not set: %r", message.subject)
        if not self.fail_silently:
            raise ImproperlyConfigured("No mail can be sent. Set EMAIL_URL.")
        return 0


_HINT = (
    "EMAIL_URL is not the URL of a mail server. Set it to smtp+tls://user:password@host:587, or "
    "with smtps:// for port 465, with %40 for an @, %2F for a / and %5B for a [ in the password."
)
