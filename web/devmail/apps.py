"""The application's configuration."""

from django.apps import AppConfig


class DevmailConfig(AppConfig):
    """Mail that was caught."""

    name = "devmail"
