"""The ASGI entry point: ``config.asgi:application``."""

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.prod")

application: Any = get_asgi_application()

from django.apps import apps  # noqa: E402  # Django is set up now

if apps.is_installed("live"):
    from live.asgi import with_streams

    application = with_streams(application)
