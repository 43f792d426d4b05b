"""The user of this site."""

from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models.functions import Lower

from accounts.fields import LowercaseEmailField
from accounts.managers import UserManager
from core.models import TimeStampedModel


class User(AbstractBaseUser, PermissionsMixin, TimeStampedModel):
    """A person who logs in with an email address, in whatever case it was typed."""

    email = LowercaseEmailField(
        "email address",
        unique=True,
        error_messages={"unique": "A user with this email address exists already."},
    )
    name = models.CharField("name", max_length=150, blank=True)
    is_active = models.BooleanField(
        "active",
        default=True,
        help_text="Whether this user may log in. Clear this instead of deleting an account.",
    )
    is_staff = models.BooleanField(
        "staff", default=False, help_text="Whether this user may log in to the admin."
    )

    objects: ClassVar[UserManager] = UserManager()

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        """No second account for one mailbox, whoever writes the row."""

        verbose_name = "user"
        ordering = ("email",)
        constraints = (
            # Together with the unique index: unique in every case, and still one plain index,
            # which each login uses.
            models.CheckConstraint(
                condition=models.Q(email=Lower("email")),
                name="accounts_user_email_is_lower_case",
            ),
        )

    def __str__(self) -> str:
        """Return the name that the admin shows."""
        return str(self.email)

    def get_full_name(self) -> str:
        """Return the name, or the address of someone who gave none."""
        return self.name or self.email

    def get_short_name(self) -> str:
        """Return what a greeting uses: the first word of the name."""
        return self.get_full_name().split(maxsplit=1)[0]
