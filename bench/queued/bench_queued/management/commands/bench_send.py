# mypy: disable-error-code="import-not-found, import-untyped, misc, no-untyped-call, no-untyped-def"
"""`manage.py bench_send`: send the tasks whose numbers are read, until there are no more.

Each line is `send FIRST COUNT`, or `await NUMBER 1`, which waits until that task has run.
"""

import sys
import time

from django.core.management.base import BaseCommand
from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError

from bench_queued.models import Work
from bench_queued.tasks import work

LONGEST = 300  # seconds that a task is waited for
PAUSE = 0.05  # seconds


class Command(BaseCommand):
    """Prints a line for each that Redis has accepted: its number, and from when to when that took.

    Of one that is waited for, it is the time at which it had run; 0 if it has not.
    """

    def handle(self, *_, **__):
        """Until standard input ends."""
        for line in sys.stdin:
            word, first, count = line.split()
            for number in range(int(first), int(first) + int(count)):
                began, ended = time.time(), send(number)
                if word == "await":
                    ended = wait(number)
                self.stdout.write(f"{number} {began} {ended}")
            self.stdout.flush()


def send(number):
    """Send it, as often as it is refused; returns when it was accepted."""
    while True:
        try:
            work.enqueue(number)
        except (KombuError, OperationalError, RedisError, OSError):
            time.sleep(PAUSE)
        else:
            return time.time()


def wait(number):
    """Wait until it has run; returns when."""
    deadline = time.time() + LONGEST
    while time.time() < deadline:
        if Work.objects.filter(number=number).exists():
            return time.time()
        time.sleep(PAUSE)
    return 0
