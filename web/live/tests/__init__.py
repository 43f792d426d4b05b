"""The part ``live``. Where it is off, these tests are skipped: its packages are not installed."""

from unittest import SkipTest

from django.apps import apps

if not apps.is_installed("live"):
    raise SkipTest("the part live is off: COMPOSE_PROFILES=live switches it on")
