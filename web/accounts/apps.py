"""The application's configuration."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """People and their logins."""

    name = "accounts"
