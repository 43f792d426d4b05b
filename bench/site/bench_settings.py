# mypy: disable-error-code="import-not-found, name-defined"
"""Settings of the measured project: the starter's production settings, and the bench's pages."""

from config.settings.prod import *  # noqa: F403  # the starter's, which both stacks serve

INSTALLED_APPS += ["bench_pages", "bench_history"]  # noqa: F405
ROOT_URLCONF = "bench_pages.urls"
