"""The sample application. Where no part is on that uses it, these tests are skipped."""

from unittest import SkipTest

from django.apps import apps

if not apps.is_installed("notifications"):
    raise SkipTest("notifications are off: COMPOSE_PROFILES=api switches them on")
