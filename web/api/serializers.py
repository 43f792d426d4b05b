"""What goes in and comes out, of accounts."""

from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
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


class SignUpSerializer(ModelSerializer[User]):
    """A new account."""

    password = PasswordField(min_length=8)

    class Meta:
        """Nothing that gives rights."""

        model = User
        fields = ("id", "email", "name", "password")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a password that Django's validators find too weak."""
        password = attrs["password"]
        user = User(**{key: value for key, value in attrs.items() if key != "password"})
        try:
            validate_password(password, user)
        except ValidationError as error:
            raise serializers.ValidationError({"password": error.messages}) from error
        return attrs

    def create(self, validated_data: dict[str, Any]) -> User:
        """Make the user; somebody else may have taken the address since it was looked at."""
        try:
            with transaction.atomic():
                user: User = User.objects.create_user(**validated_data)
        except IntegrityError as error:
            taken = "A user with this email address exists already."
            raise serializers.ValidationError({"email": [taken]}) from error
        return user


class LoginSerializer(serializers.Serializer[Any]):
    """Address and password."""

    email = TextField(max_length=254)
    password = PasswordField()


class TokenSerializer(serializers.Serializer[Any]):
    """A token, which is shown this once."""

    token = serializers.CharField(read_only=True)
    expires = serializers.DateTimeField(read_only=True)


class ErrorSerializer(serializers.Serializer[Any]):
    """What went wrong."""

    detail = serializers.CharField(read_only=True)
