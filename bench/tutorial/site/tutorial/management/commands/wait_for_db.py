"""The command that tutorials have their readers write."""

import time
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connections
from django.db.utils import OperationalError
from psycopg2 import OperationalError as Psycopg2Error


class Command(BaseCommand):
    """Wait for the database."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Try each second until it is there."""
        self.stdout.write("Waiting for database...")
        database_up = False
        while not database_up:
            try:
                # Some tutorials call self.check(databases=["default"]), which connects no more.
                connections["default"].cursor().close()
                database_up = True
            except (Psycopg2Error, OperationalError):
                self.stdout.write("Database unavailable, waiting 1 second...")
                time.sleep(1)
        self.stdout.write(self.style.SUCCESS("Database available!"))
