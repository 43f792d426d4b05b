# mypy: disable-error-code="import-not-found, name-defined"
"""Settings of the site whose streams are watched while it is released."""

from config.settings.prod import *  # noqa: F403

INSTALLED_APPS += ["bench_watched"]  # noqa: F405
