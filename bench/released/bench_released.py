# mypy: disable-error-code="import-not-found, name-defined"
"""Settings of the site that is released again and again: the measured pages, and orders."""

from bench_settings import *  # noqa: F403  # the starter's production settings, with two pages

INSTALLED_APPS += ["bench_orders"]  # noqa: F405
MIDDLEWARE += ["bench_orders.faults.middleware"]  # noqa: F405
ROOT_URLCONF = "bench_orders.urls"
