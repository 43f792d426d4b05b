"""Errors go to Sentry, or to what speaks its protocol (GlitchTip), if SENTRY_DSN says where."""

from django.core.exceptions import ImproperlyConfigured


def start(dsn: str, *, release: str, environment: str) -> None:
    """Send errors from now on. Raises `ImproperlyConfigured` if `dsn` is no address of that kind.

    Nothing of visitors leaves the machine: no addresses, cookies and forms, nor the values of
    variables, among which a password or a card may be.
    """
    import sentry_sdk  # noqa: PLC0415  # not loaded where nobody wants it
    from sentry_sdk.utils import BadDsn  # noqa: PLC0415

    try:
        sentry_sdk.init(
            dsn=dsn,
            release=release,
            environment=environment,
            send_default_pii=False,
            include_local_variables=False,
            max_request_body_size="never",
        )
    except BadDsn:
        # Not chained: the message may quote the address.
        raise ImproperlyConfigured(
            "SENTRY_DSN is not an address such as https://KEY@sentry.example.com/1. Correct it."
        ) from None
