"""The application's configuration."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """Home page, health, and the base of models."""

    name = "core"
