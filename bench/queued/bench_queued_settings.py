# mypy: disable-error-code="import-not-found, name-defined"
"""Settings of the site whose tasks are counted while its workers are killed."""

from config.settings.prod import *  # noqa: F403

INSTALLED_APPS += ["bench_queued"]  # noqa: F405
# Twenty entries, from 12.0 to 17.7 s: of different length, so that they are not all due at once.
CELERY_BEAT_SCHEDULE = {
    f"tick-{every}": {
        "task": "bench_queued.tasks.tick",
        "schedule": every / 10,
        "args": [every / 10],
    }
    for every in range(120, 180, 3)
}
