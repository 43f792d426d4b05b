"""The tokens with which programs log in."""

import hashlib
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.crypto import constant_time_compare

if TYPE_CHECKING:
    from accounts.models import User

LIFETIME = timedelta(days=14)  # as long as a session


def digest_of(key: str) -> str:
    """Return what is stored of a token, which has too many random bits to need a salt."""
    return hashlib.sha256(key.encode()).hexdigest()


class TokenManager(models.Manager["Token"]):
    """Issue tokens, and find them again."""

    def issue(self, user: "User") -> tuple[str, "Token"]:
        """Return a new token of `user`, which nobody can see again, and its row.

        Those of this user that have expired are deleted.
        """
        now = timezone.now()
        self.filter(user=user, expires__lte=now).delete()
        key = secrets.token_urlsafe(32)
        token = self.create(
            digest=digest_of(key),
            user=user,
            password_hash=user.get_session_auth_hash(),
            expires=now + LIFETIME,
        )
        return key, token

    def valid(self, key: str) -> "Token | None":
        """Return the row of a token that still counts, with its user."""
        token = (
            self.select_related("user")
            .filter(digest=digest_of(key), expires__gt=timezone.now())
            .first()
        )
        return token if token and token.user.is_active and token.is_of_the_password() else None


class Token(models.Model):
    """A login by a program. Like a session, it ends with a new password.

    A database that leaks gives no token away: only digests are stored.
    """

    digest = models.CharField(max_length=64, primary_key=True)
    # The migration writes the constraint, ON DELETE CASCADE: users can be deleted, and take their
    # tokens along, also while this part is switched off.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="api_tokens",
        db_constraint=False,
    )
    password_hash = models.CharField(max_length=128, editable=False)
    created = models.DateTimeField(auto_now_add=True)
    expires = models.DateTimeField()

    objects = TokenManager()

    def __str__(self) -> str:
        """Return whose it is."""
        return f"token of {self.user}"

    def is_of_the_password(self) -> bool:
        """Whether the user has still the password with which this token was issued."""
        hashes = [self.user.get_session_auth_hash(), *self.user.get_session_auth_fallback_hash()]
        return any(constant_time_compare(self.password_hash, one) for one in hashes)
