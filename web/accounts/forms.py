"""The forms with which the admin adds and changes users, and with which they sign up."""

from django.contrib.auth import forms

from accounts.models import User


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
