"""Turn DATABASE_URL into Django's settings of a PostgreSQL connection."""

from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

# Seconds until a server that does not answer at all counts as down. libpq would wait for the
# operating system, two minutes, and a readiness check has given up long before that.
CONNECT_TIMEOUT = 5


def postgresql(url: str, *, max_age: int) -> dict[str, Any]:
    """Return the entry of DATABASES for `url`; a connection is kept for `max_age` seconds.

    Options in the query of the URL (``?sslmode=require``) win over those that are set here.
    """
    try:
        # Tested before use, so that a restart of PostgreSQL costs no request an error.
        settings: dict[str, Any] = dict(
            dj_database_url.parse(url, conn_max_age=max_age, conn_health_checks=True)
        )
    except ValueError:  # not chained: its message may quote the URL, and with it the password
        raise ImproperlyConfigured(_HINT) from None
    if settings.get("ENGINE") != "django.db.backends.postgresql" or not settings.get("NAME"):
        raise ImproperlyConfigured(_HINT)
    settings["ATOMIC_REQUESTS"] = True
    settings["OPTIONS"] = {
        "connect_timeout": CONNECT_TIMEOUT,
        # What pg_stat_activity shows, unless PGAPPNAME or the URL say something better.
        "fallback_application_name": "django",
    } | settings.get("OPTIONS", {})
    return settings


_HINT = (
    "DATABASE_URL is not the URL of a PostgreSQL database. "
    "Set it to postgres://user:password@host:5432/database, with %40 for an @ in the password."
)
