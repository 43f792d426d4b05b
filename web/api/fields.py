"""Fields that take what the OpenAPI document says, and nothing that only looks like it.

REST framework takes the number 5 for a text and the text "yes" for true. A document that promises
a text or a boolean should be right about what is refused, too.
"""

from typing import Any, ClassVar, TypeVar

from django.db import models
from rest_framework import serializers

M = TypeVar("M", bound=models.Model)


class TextField(serializers.CharField):
    """A text, and no number."""

    def to_internal_value(self, data: Any) -> str:
        """Return the text."""
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class PasswordField(TextField):
    """A password as it was typed, which is never shown."""

    def __init__(self, **options: Any) -> None:
        """Hide it in forms, and keep what it begins and ends with."""
        style = {"input_type": "password"}
        super().__init__(
            write_only=True, trim_whitespace=False, max_length=128, style=style, **options
        )


class FlagField(serializers.BooleanField):
    """True or false in JSON, `true` or `false` in a URL."""

    def to_internal_value(self, data: Any) -> bool:
        """Return the value."""
        if data is True or data == "true":
            return True
        if data is False or data == "false":
            return False
        self.fail("invalid", input=data)
        raise AssertionError  # `fail` raises


class ModelSerializer(serializers.ModelSerializer[M]):
    """The base for serializers of models, with the fields above."""

    serializer_field_mapping: ClassVar[dict[type[models.Field], type[serializers.Field]]] = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.CharField: TextField,
        models.TextField: TextField,
        models.BooleanField: FlagField,
    }
