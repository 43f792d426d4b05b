# mypy: disable-error-code="var-annotated"
"""What visitors order."""

from django.db import models


class Order(models.Model):
    """One order. Its number is not unique: one that is written twice has to be seen."""

    number = models.BigIntegerField()
    note = models.TextField()
    # More fields come here with releases.

    class Meta:
        app_label = "bench_orders"

    def __str__(self) -> str:
        return str(self.number)
