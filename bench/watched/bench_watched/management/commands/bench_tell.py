# mypy: disable-error-code="import-not-found, import-untyped, misc, no-untyped-def"
"""`manage.py bench_tell RATE`: send notifications, numbered for each user, until SIGTERM."""

import signal
import time

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from notifications.models import Notification


class Command(BaseCommand):
    """Each is a transaction of its own. Prints how many each user got, at the end."""

    ended = False

    def add_arguments(self, parser):
        """How many a second."""
        parser.add_argument("rate", type=float)

    def handle(self, *_, rate, **__):
        """Send them to all users in turn."""
        signal.signal(signal.SIGTERM, self.end)
        users = list(get_user_model().objects.filter(email__startswith="bench-").order_by("pk"))
        due = time.monotonic()
        sent = 0
        while not self.ended:  # each user gets as many
            sent += 1
            for user in users:
                Notification.objects.create(recipient=user, text=str(sent))
                due += 1 / rate
                time.sleep(max(0.0, due - time.monotonic()))
        self.stdout.write(f"sent {sent}")

    def end(self, *_):
        """After this round."""
        self.ended = True
