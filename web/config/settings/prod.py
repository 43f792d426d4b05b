"""Production: nothing works that is not configured, and with DOMAIN everything is HTTPS."""

from config import env, mail, sentry
from config.database import postgresql

from .base import *

APP_MODE = env.text("POSTDO_MODE", "production")

DEBUG = env.flag("DEBUG", default=False)
SECRET_KEY = env.secret("SECRET_KEY")

# Kept for a minute by each thread of a worker: connecting costs more than most queries. A minute
# is enough to save nearly all of it, and lets go of a server that was replaced.
DATABASES = {
    "default": postgresql(
        env.secret("DATABASE_URL"), max_age=env.integer("CONN_MAX_AGE", default=60)
    )
}

# --- Names --------------------------------------------------------------------------------------

DOMAINS = env.host_names("DOMAIN")
ALLOWED_HOSTS += DOMAINS
CSRF_TRUSTED_ORIGINS += [f"https://{domain}" for domain in DOMAINS]

if not ALLOWED_HOSTS:
    # Not told its name yet: the machine itself may look. Anything wider would let a forged Host
    # header into links that the site sends out.
    ALLOWED_HOSTS += ["localhost", "127.0.0.1", "[::1]"]

# --- HTTPS, when there is a domain to have a certificate for --------------------------------------

HTTPS = bool(DOMAINS)

SECURE_SSL_REDIRECT = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS

if HTTPS:
    # Safe because nobody but the proxy can reach this process, and the proxy sets the header anew.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# How long a browser refuses plain HTTP after it has been here once: a month, so that a site that
# has to go back can.
SECURE_HSTS_SECONDS = env.integer("HSTS_SECONDS", default=30 * 24 * 3600) if HTTPS else 0

# These two reach beyond this site: they bind every name below the domain, whoever runs it, and a
# place on the browsers' preload list takes months to undo. Only the owner of the domain can
# decide that, so both are off until then, and the checks that ask for them are told so.
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.flag("HSTS_INCLUDE_SUBDOMAINS", default=False)
SECURE_HSTS_PRELOAD = env.flag("HSTS_PRELOAD", default=False)
SILENCED_SYSTEM_CHECKS = [
    check
    for check, decided in (
        ("security.W005", SECURE_HSTS_INCLUDE_SUBDOMAINS),
        ("security.W021", SECURE_HSTS_PRELOAD),
    )
    if not decided
]

# --- Mail ---------------------------------------------------------------------------------------

MAIL_SERVER = mail.server(env.secret("EMAIL_URL", default=""))
MAIL_IS_SET_UP = MAIL_SERVER is not None

if MAIL_SERVER is None:
    EMAIL_BACKEND = "config.mail.NotSetUp"
else:
    EMAIL_HOST, EMAIL_PORT = MAIL_SERVER.host, MAIL_SERVER.port
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = MAIL_SERVER.user, MAIL_SERVER.password
    EMAIL_USE_TLS, EMAIL_USE_SSL = MAIL_SERVER.use_tls, MAIL_SERVER.use_ssl
    EMAIL_TIMEOUT = mail.TIMEOUT

DEFAULT_FROM_EMAIL = mail.sender(env.text("DEFAULT_FROM_EMAIL", ""), MAIL_SERVER, DOMAINS)
SERVER_EMAIL = DEFAULT_FROM_EMAIL

# --- Files and logs -----------------------------------------------------------------------------

if env.part("s3"):
    from .s3 import storage, with_store

    STORAGES |= {"default": storage("media"), "private": storage("private")}
    CONTENT_SECURITY_POLICY = with_store(CONTENT_SECURITY_POLICY)

# Names with a hash, which a browser may keep for ever, compressed once, at build time.
STORAGES["staticfiles"] = {
    "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage",
}

LOGGING["handlers"]["console"]["formatter"] = "json"

# --- Errors ---------------------------------------------------------------------------------------

if SENTRY_DSN := env.secret("SENTRY_DSN", ""):
    sentry.start(SENTRY_DSN, release=APP_VERSION, environment=APP_MODE)
