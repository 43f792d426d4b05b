# mypy: disable-error-code="import-not-found, name-defined"
"""The measured project as a tutorial configures it: the same but for database and static files."""

import os

import dj_database_url
from bench_settings import *  # noqa: F403  # what both stacks have

INSTALLED_APPS += ["tutorial"]  # noqa: F405

# Django's own defaults: a connection for each request, and no transaction around it.
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"])}

# The starter's storage compresses and hashes. A tutorial collects at each start, and only copies.
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
