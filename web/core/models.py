"""Bases for the models of the project."""

from django.db import models


class TimeStampedModel(models.Model):
    """A model that knows when it was created and last modified.

    Both are set by `save()`. As with every `auto_now` field, `update()` and `bulk_update()` leave
    `modified` alone, and so does ``save(update_fields=[...])`` unless it is in the list.
    """

    created = models.DateTimeField(auto_now_add=True)
    modified = models.DateTimeField(auto_now=True)

    class Meta:
        """Abstract: each model that inherits gets the two columns in its own table."""

        abstract = True
