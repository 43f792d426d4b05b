"""One mail, sent as the project would send it: `python - ADDRESS`, in the project's folder.

`run.sh` feeds this to the Python of the site, of whatever project. If mail goes by SMTP, the
conversation with the server is printed, without passwords. Exit code 0 if the server has taken the
mail, else 1, after a line that says what to do.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import sys
from typing import Any

import django
from django.conf import settings
from django.core import mail

SECONDS = 20


class Shown(smtplib.SMTP):
    """Prints what it sends (>) and receives (<), except passwords and the mail itself."""

    _logs_in = _sends_mail = False

    def send(self, s: Any) -> None:
        """Send, and print."""
        text = s if isinstance(s, str) else s.decode("utf-8", "replace")
        words = text.split()
        if self._sends_mail and words[:1] != ["data"]:
            print(f"> (the mail, {len(text)} bytes)")
        elif self._logs_in and words[:1] not in (["ehlo"], ["helo"]):
            print(f"> {' '.join(words[:2]) if words[:1] == ['AUTH'] else ''} ****")
        else:
            print(f"> {text.rstrip()}")
        super().send(s)

    def getreply(self) -> tuple[int, bytes]:
        """Receive, and print."""
        code, message = super().getreply()
        for line in message.decode("utf-8", "replace").splitlines() or [""]:
            print(f"< {code} {line}")
        return code, message

    def login(self, *arguments: Any, **options: Any) -> Any:
        """Log in; what is sent is secret."""
        self._logs_in = True
        try:
            return super().login(*arguments, **options)
        finally:
            self._logs_in = False

    def data(self, msg: Any) -> tuple[int, bytes]:
        """Send the mail."""
        self._sends_mail = True
        try:
            return super().data(msg)
        finally:
            self._sends_mail = False

    def starttls(self, *arguments: Any, **options: Any) -> tuple[int, bytes]:
        """Begin TLS."""
        reply = super().starttls(*arguments, **options)
        if isinstance(self.sock, ssl.SSLSocket):
            print(f"  ({self.sock.version()})")
        return reply


class ShownSSL(Shown, smtplib.SMTP_SSL):
    """The same with TLS from the start."""


# Django takes the classes from the module at the moment at which it connects.
smtplib.SMTP, smtplib.SMTP_SSL = Shown, ShownSSL  # type: ignore[misc]

HINTS: tuple[tuple[type[Exception], str], ...] = (
    (smtplib.SMTPAuthenticationError, "the server refuses the user or the password in EMAIL_URL"),
    (smtplib.SMTPSenderRefused, "the server refuses the sender: set DEFAULT_FROM_EMAIL to yours"),
    (smtplib.SMTPRecipientsRefused, "the server refuses this recipient"),
    (smtplib.SMTPNotSupportedError, "the server offers no STARTTLS, or no login, at this port"),
    (smtplib.SMTPServerDisconnected, "the server hung up: at port 465, use smtps://"),
    (smtplib.SMTPException, "see what the server said last"),
    (ssl.SSLCertVerificationError, "the certificate is not of the host name in EMAIL_URL"),
    (ssl.SSLError, "the server speaks no TLS at first at this port: use smtp+tls:// and port 587"),
    (socket.gaierror, "there is no such host: correct the name in EMAIL_URL"),
    (TimeoutError, "nobody answers: at port 465, use smtps://; some providers close port 25"),
    (ConnectionRefusedError, "nobody listens there: correct host and port in EMAIL_URL"),
)


def main(address: str) -> int:
    """Send the mail. Returns the exit code."""
    django.setup()
    connection: Any = mail.get_connection()
    kind = type(connection)
    print(f"backend  {kind.__module__}.{kind.__qualname__}")
    if getattr(connection, "host", None):
        print(f"server   {connection.host}:{connection.port}")
        connection.timeout = connection.timeout or SECONDS
    print(f"from     {settings.DEFAULT_FROM_EMAIL}\nto       {address}", flush=True)
    message = mail.EmailMessage(
        "A test of this site's mail", "It works.\n", to=[address], connection=connection
    )
    try:
        message.send()
    except Exception as error:  # noqa: BLE001  whatever a backend raises is to be told
        hint = next((text for kind, text in HINTS if isinstance(error, kind)), "")
        print(f"{type(error).__name__}: {error}\n{hint}".rstrip())
        return 1
    print(getattr(connection, "note", "The mail was handed over."))
    return 0


sys.exit(main(sys.argv[1]))
