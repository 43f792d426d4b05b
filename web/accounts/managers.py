"""How users are made."""

from typing import TYPE_CHECKING, Any

from django.contrib.auth.base_user import BaseUserManager

if TYPE_CHECKING:
    from accounts.models import User


class UserManager(BaseUserManager["User"]):
    """Make users who log in with their email address."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Make and return a user; without a password, one who cannot log in yet.

        Raises ValueError without an address, `IntegrityError` when it is taken.
        """
        fields.setdefault("is_staff", False)
        fields.setdefault("is_superuser", False)
        return self._create(email, password, **fields)

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Make and return a user who may do everything.

        Raises ValueError without an address, or when `fields` would take a right away.
        """
        fields.setdefault("is_staff", True)
        fields.setdefault("is_superuser", True)
        for right in ("is_staff", "is_superuser"):
            if fields[right] is not True:
                raise ValueError(f"A superuser must have {right}=True.")
        return self._create(email, password, **fields)

    def _create(self, email: str, password: str | None, **fields: Any) -> "User":
        if not email.strip():
            raise ValueError("A user must have an email address.")
        user = self.model(email=email, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user
