"""Delete notifications that nobody will look for any more."""

import argparse
from typing import Any

from django.core.management import BaseCommand

from notifications.models import KEPT_DAYS, Notification


class Command(BaseCommand):
    """To be run now and then, by SCHEDULE_… in .env or by the beat of the part ``tasks``."""

    help = "Delete notifications that are older than so many days, read or not."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take the number of days."""
        parser.add_argument("--days", type=int, default=KEPT_DAYS, help="default: %(default)s")

    def handle(self, *_: Any, days: int, **__: Any) -> None:
        """Delete them, and say how many there were."""
        self.stdout.write(f"{Notification.objects.delete_older_than(days)} deleted")
