"""What goes in and comes out, of accounts."""

from typing import Any

from django.utils.encoding import punycode
from rest_framework import serializers

from accounts.models import User
from api.fields import ModelSerializer, PasswordField, TextField


class UserSerializer(ModelSerializer[User]):
    """What users see and change of themselves."""

    class Meta:
        """The address stays: whoever changes it has to prove that the new one is theirs."""

        model = User
        fields = ("id", "email", "name", "created")
        read_only_fields = ("id", "email", "created")


class SignUpSerializer(serializers.Serializer[Any]):
    """Who wants an account. A link in a mail leads to the rest."""

    email = serializers.EmailField(max_length=254)

    def validate_email(self, email: str) -> str:
        """Refuse a domain that no mail can be sent to, because its name in ASCII is too long."""
        try:
            punycode(email.rpartition("@")[2])
        except UnicodeError as error:
            raise serializers.ValidationError("Enter a valid email address.") from error
        return email


class ConfirmSerializer(serializers.Serializer[Any]):
    """What makes the account: the token of the link in the mail, and what its owner chooses."""

    token = TextField(max_length=1000)
    password = PasswordField()
    name = TextField(max_length=150, required=False, allow_blank=True)


class LoginSerializer(serializers.Serializer[Any]):
    """Address and password."""

    email = TextField(max_length=254)
    password = PasswordField()


class TokenSerializer(serializers.Serializer[Any]):
    """A token, which is shown this once."""

    token = serializers.CharField(read_only=True)
    expires = serializers.DateTimeField(read_only=True)


class DetailSerializer(serializers.Serializer[Any]):
    """What happens next, in words."""

    detail = serializers.CharField(read_only=True)


class ErrorSerializer(serializers.Serializer[Any]):
    """What went wrong."""

    detail = serializers.CharField(read_only=True)
