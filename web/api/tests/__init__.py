"""The part ``api``. Where it is off, these tests are skipped: its packages are not installed."""

from unittest import SkipTest

from django.apps import apps

if not apps.is_installed("api"):
    raise SkipTest("the part api is off: COMPOSE_PROFILES=api switches it on")
