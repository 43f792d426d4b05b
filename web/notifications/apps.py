"""The application's configuration."""

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    """What users are told, and whether they have read it."""

    name = "notifications"
