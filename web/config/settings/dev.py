"""Development: errors with all their details, no HTTPS, plain logs."""

from importlib.util import find_spec

from config import env
from config.database import postgresql

from .base import *

DEBUG = env.flag("DEBUG", default=True)

# A fixed key is fine here, and only here: nothing that it signs is worth forging.
SECRET_KEY = env.secret("SECRET_KEY", default="development-only-" + "not-a-secret-" * 3)

# runserver uses a new thread for each connection, so one that is kept is only ever in the way.
DATABASES = {
    "default": postgresql(
        env.secret("DATABASE_URL", default=env.development_database_url()), max_age=0
    )
}

ALLOWED_HOSTS += ["localhost", ".localhost", "127.0.0.1", "[::1]"]

# Cookies do not know ports: with production's names, whoever logs in here would be logged out of
# a production site on the same host name, and a form that is open there would be refused.
SESSION_COOKIE_NAME = "dev_sessionid"
CSRF_COOKIE_NAME = "dev_csrftoken"

# Caught, and shown on the page /mail/.
INSTALLED_APPS += ["devmail"]
EMAIL_BACKEND = "devmail.backend.MailboxBackend"

# A handle at the edge of each page opens it: queries, templates, settings, time. It is in
# requirements/dev.in alone; remove it there and nothing here is missing.
if find_spec("debug_toolbar"):
    INSTALLED_APPS.append("debug_toolbar")
    MIDDLEWARE.insert(1, "debug_toolbar.middleware.DebugToolbarMiddleware")  # behind the health
    INTERNAL_IPS = ["127.0.0.1", "::1"]
    DEBUG_TOOLBAR_CONFIG = {
        "SHOW_COLLAPSED": True,
        # In Docker, this machine is the gateway of the container.
        "SHOW_TOOLBAR_CALLBACK": "debug_toolbar.middleware.show_toolbar_with_docker",
    }
