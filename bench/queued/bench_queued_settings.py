# mypy: disable-error-code="import-not-found, name-defined"
"""Settings of the site whose tasks are counted while its workers are killed."""

from config.settings.prod import *  # noqa: F403

INSTALLED_APPS += ["bench_queued"]  # noqa: F405
CELERY_BEAT_SCHEDULE = {"tick": {"task": "bench_queued.tasks.tick", "schedule": 15}}
