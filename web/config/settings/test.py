"""Tests: a real PostgreSQL, cheap password hashes, and nothing that needs a build first."""

from importlib.util import find_spec

from config import env
from config.database import postgresql

# The tests, and the type checker, look at each optional part whose packages are installed, unless
# COMPOSE_PROFILES names others. requirements/test.txt has those of all parts.
PACKAGES = {"api": "rest_framework", "live": "channels"}
env.assume("COMPOSE_PROFILES", ",".join(part for part in PACKAGES if find_spec(PACKAGES[part])))

from .base import *

DEBUG = False
SECRET_KEY = "test-only-" + "not-a-secret-" * 4

# Without a DATABASE_URL, the PostgreSQL that a developer or a CI service usually has.
DATABASES = {
    "default": postgresql(
        env.secret(
            "DATABASE_URL",
            default=env.development_database_url()
            or "postgres://postgres:postgres@127.0.0.1:5432/postgres",
        ),
        max_age=0,
    )
}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

WHITENOISE_AUTOREFRESH = True  # look for files when asked: there is no STATIC_ROOT to scan

# Tests provoke errors on purpose. Those that are about logging look at it themselves.
LOGGING["handlers"]["console"] = {"class": "logging.NullHandler"}
