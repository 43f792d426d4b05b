"""The application's configuration."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    """Sign-up, login by token, and what every endpoint shares."""

    name = "api"
