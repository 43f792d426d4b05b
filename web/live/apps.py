"""The application's configuration."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class LiveConfig(AppConfig):
    """Load the `live.py` of each application."""

    name = "live"

    def ready(self) -> None:
        """Let applications register their streams."""
        autodiscover_modules("live")
