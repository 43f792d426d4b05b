# mypy: disable-error-code="attr-defined, import-not-found, import-untyped, misc, no-untyped-def"
"""`manage.py bench_users COUNT`: make users who are logged in."""

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """Print a line for each: the name of the cookie, and the session."""

    def add_arguments(self, parser):
        """How many."""
        parser.add_argument("count", type=int)

    def handle(self, *_, count, **__):
        """Make them."""
        for number in range(count):
            user = get_user_model().objects.create_user(f"bench-{number}@example.com")
            session = SessionStore()
            session[SESSION_KEY] = str(user.pk)
            session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
            session[HASH_SESSION_KEY] = user.get_session_auth_hash()
            session.save()
            self.stdout.write(f"{settings.SESSION_COOKIE_NAME}={session.session_key}")
