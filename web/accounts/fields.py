"""An email address that means the same however it was typed."""

from typing import Any

from django.db import models


class LowercaseEmailField(models.EmailField):
    """An email field that stores and compares the whole address in lower case.

    By the standard only the domain is indifferent to case. In practice no mail server of note
    tells ``Ada@`` from ``ada@``, people type both, and two accounts for one mailbox are a way to
    take one over. Since the value is lowered on its way to the database, writing and looking up
    both hold, in forms, in the shell and in fixtures alike.
    """

    def to_python(self, value: Any) -> Any:
        """Return the value as a model has it."""
        value = super().to_python(value)
        return value.strip().lower() if isinstance(value, str) else value

    def get_prep_value(self, value: Any) -> Any:
        """Return the value as the database gets it, to store or to compare."""
        return self.to_python(super().get_prep_value(value))

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Return the value to save, and let the instance in memory have it too."""
        value = self.to_python(super().pre_save(model_instance, add))
        setattr(model_instance, self.attname, value)
        return value
