"""The backend that keeps each mail as a file, in place of sending it."""

import logging
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

logger = logging.getLogger(__name__)

KEPT = 200
SUFFIX = ".eml"


class MailboxBackend(BaseEmailBackend):
    """Write each mail into settings.DEVMAIL_FOLDER, and keep the newest of them."""

    note = "It was caught: read it on the page /mail/ of this site."

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Keep them, and return how many there were."""
        for message in email_messages:
            keep(message)
            logger.info("Caught a mail to %s: see /mail/", ", ".join(message.recipients()))
        return len(email_messages)


def folder() -> Path:
    """Return the folder, which may not be there yet."""
    return Path(settings.DEVMAIL_FOLDER)


def names() -> list[str]:
    """Return the names of all mails, the newest first."""
    return sorted((path.stem for path in folder().glob(f"*{SUFFIX}")), reverse=True)


def keep(message: EmailMessage) -> str:
    """Write `message` under a new name, which is returned, and delete the oldest beyond KEPT."""
    folder().mkdir(parents=True, exist_ok=True)
    mail = message.message()
    mail["X-Recipients"] = ", ".join(message.recipients())  # those of Bcc too
    name = f"{time.time_ns()}-{secrets.token_hex(4)}"
    part = folder() / f"{name}.part"
    part.write_bytes(mail.as_bytes())
    part.rename(folder() / f"{name}{SUFFIX}")
    for old in names()[KEPT:]:
        (folder() / f"{old}{SUFFIX}").unlink(missing_ok=True)
    return name
