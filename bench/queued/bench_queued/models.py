# mypy: disable-error-code="no-any-return, var-annotated"
"""What tasks note."""

from django.db import models


class Work(models.Model):
    """One run of a task. Its number is not unique: a task that ran twice has to be seen."""

    number = models.BigIntegerField(db_index=True)
    began = models.FloatField()  # seconds since 1970
    ended = models.FloatField()

    class Meta:
        app_label = "bench_queued"

    def __str__(self) -> str:
        return str(self.number)


class Tick(models.Model):
    """One run of the periodic task, and when beat sent it."""

    task = models.TextField()
    every = models.FloatField()  # seconds
    sent = models.FloatField()

    class Meta:
        app_label = "bench_queued"

    def __str__(self) -> str:
        return self.task
