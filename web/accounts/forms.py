"""The forms for users in the admin, for who signs up, and for who wants a new password."""

from threading import Thread
from typing import Any

from django.contrib.auth import forms

from accounts.models import User

SENDER = "password reset mail"


class PasswordResetForm(forms.PasswordResetForm):
    """Ask for a link, without waiting for the mail server: that would tell who has an account."""

    def send_mail(self, *arguments: Any, **options: Any) -> None:
        """Begin to send it. What goes wrong is in the log, as Django's own form has it."""
        Thread(target=super().send_mail, args=arguments, kwargs=options, name=SENDER).start()


class UserCreationForm(forms.AdminUserCreationForm):
    """Add a user: an address, and a password twice or none at all."""

    class Meta:
        """What is asked first; the rest is filled in on the next page."""

        model = User
        fields = ("email",)


class UserChangeForm(forms.UserChangeForm):
    """Change a user; the password by a page of its own."""

    class Meta:
        """Everything that `UserAdmin.fieldsets` shows."""

        model = User
        fields = "__all__"


class SignUpForm(forms.BaseUserCreationForm):
    """Complete one's own account, whose address is known by then."""

    class Meta:
        """Nothing that gives rights."""

        model = User
        fields = ("name",)
