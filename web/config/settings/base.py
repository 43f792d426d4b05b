"""What is true in every environment. Use `dev`, `prod` or `test`, which build on this."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from config import env

BASE_DIR = Path(__file__).resolve().parents[2]

# A clone has its .env beside this project. In a container there is none: everything is in the
# environment already.
env.load_file(BASE_DIR.parent / ".env")

# --- What runs here: shown on the home page, to staff --------------------------------------------

APP_MODE = env.text("POSTDO_MODE", "development")
APP_VERSION = env.text("APP_VERSION", "unversioned")
APP_REVISION = env.text("APP_REVISION", "")
PGADMIN_URL = env.text("PGADMIN_URL", "")

# --- The application -------------------------------------------------------------------------

INSTALLED_APPS = [
    "accounts",
    "core",
    "whitenoise.runserver_nostatic",  # runserver serves static files as production does
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "core.middleware.HealthMiddleware",  # first: no redirect and no host check before it
    "django.middleware.security.SecurityMiddleware",
    "core.middleware.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "accounts.limits.TooManyTriesMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

if env.part("api"):
    from .api import *

    INSTALLED_APPS += API_APPS
    MIDDLEWARE.insert(2, "api.errors.JsonErrorsMiddleware")  # around all that answers with a page

if env.part("live"):
    INSTALLED_APPS.insert(0, "live")  # before the others that have a runserver

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- People ------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.limits.LimitedBackend"]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{validator}"}
    for validator in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# "logins" counts wrong passwords (accounts/limits.py). In memory, so for each process; name a
# cache that all share (Redis) to count them together.
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "logins": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "logins",
        "OPTIONS": {"MAX_ENTRIES": 20_000},
    },
}

# Whether this site can send mail. Without, pages that would send one say so.
MAIL_IS_SET_UP = True

# Where development keeps the mail that it catches (devmail/).
DEVMAIL_FOLDER = BASE_DIR / ".mail"

# --- Language and time -----------------------------------------------------------------------

LANGUAGE_CODE = "en-us"
TIME_ZONE = env.time_zone("TIME_ZONE", "UTC")
USE_TZ = True

# --- Static files ----------------------------------------------------------------------------

STATIC_URL = "static/"
STATIC_ROOT = Path(env.text("STATIC_ROOT", str(BASE_DIR / "staticfiles")))
WHITENOISE_ROOT = BASE_DIR / "public"  # served from /: favicon.ico, robots.txt

# --- Uploads: core/files.py ------------------------------------------------------------------

# In production a volume, whose files below MEDIA_ROOT the proxy serves. Here, folders that git
# ignores.
MEDIA_URL = "media/"
MEDIA_ROOT = Path(env.text("MEDIA_ROOT", str(BASE_DIR / "media")))
PRIVATE_MEDIA_ROOT = Path(env.text("PRIVATE_MEDIA_ROOT", str(BASE_DIR / "media-private")))

# Whether there is a proxy in front that sends the private file which a response names.
X_ACCEL_REDIRECT = env.flag("X_ACCEL_REDIRECT", default=False)

# The group may change them too: the migrations of a release run as another user of it.
FILE_UPLOAD_PERMISSIONS = 0o664
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o775

STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "private": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": PRIVATE_MEDIA_ROOT, "base_url": "/private/"},
    },
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

# --- Tasks (docs/tasks.md of the kit) ----------------------------------------------------------

# `task.enqueue()` runs the task at once, in the process, where no part of the kit is on that has
# a worker. No list of queues: each name is one.
TASKS: dict[str, Any] = {
    "default": {"BACKEND": "django_tasks.backends.immediate.ImmediateBackend", "QUEUES": []},
}

# Celery reads the names that begin with CELERY_ (config/celery.py). Where it keeps its queues,
# CELERY_BROKER_URL, it reads from the environment itself.
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TIMEZONE = TIME_ZONE
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 10, "socket_connect_timeout": 5}
CELERY_BEAT_SCHEDULE: dict[str, dict[str, Any]] = {}

if env.part("tasks") and env.text("CELERY_BROKER_URL", ""):
    TASKS["default"]["BACKEND"] = "config.task_backend.CeleryBackend"

if env.part("tasks-db"):
    # A table of the site's database: a task commits with what it is about.
    INSTALLED_APPS.append("django_tasks_db")
    if APP_MODE != "local":  # -2 has no worker
        TASKS["default"]["BACKEND"] = "django_tasks_db.DatabaseBackend"

# --- Security, where it does not depend on HTTPS ----------------------------------------------

ALLOWED_HOSTS = env.words("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")

# Old keys that still unlock what they signed. To change SECRET_KEY without logging anybody out,
# put the former one here for as long as a session lasts (two weeks).
SECRET_KEY_FALLBACKS = env.words("SECRET_KEY_FALLBACKS")

X_FRAME_OPTIONS = "DENY"

# Everything from this site and nothing inline, which stops most of what injected markup could do.
# The admin keeps to it too. Add a host here when the pages need one.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)

# --- Logs: to standard output, for whoever runs the process to collect --------------------------

LOG_LEVEL = env.log_level("LOG_LEVEL", "INFO")

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {"format": "{levelname} {name}: {message}", "style": "{"},
        "json": {"()": "config.logs.JsonFormatter"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "stream": "ext://sys.stdout",
            "formatter": "plain",
        },
    },
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        # Without handlers of its own, which would print everything twice, or mail it.
        "django": {"handlers": [], "level": LOG_LEVEL},
        # At DEBUG it names every file that it watches.
        "django.utils.autoreload": {"level": "INFO"},
    },
}

# --- The sample application, with any of the parts that it uses --------------------------------

# To delete it: these lines, those in config/urls.py, and the folder.
if any(env.part(name) for name in ("api", "live", "tasks", "tasks-db")):
    INSTALLED_APPS.append("notifications")
    CELERY_BEAT_SCHEDULE["delete-old-notifications"] = {
        "task": "notifications.tasks.delete_old",
        "schedule": timedelta(days=1),
    }
