"""The part ``s3``: uploads in an object store that speaks S3's protocol (docs/uploads-and-mail.md).

The bucket stays closed to the public. Each address that the site hands out is signed, and valid for
an hour.
"""

from typing import Any
from urllib.parse import urlsplit

from botocore.config import Config

from config import env

ENDPOINT = env.text("S3_ENDPOINT", "")


class Client(Config):  # type: ignore[misc]
    """How the store is asked. Each is like the other: the cache of static files looks at this."""

    def __repr__(self) -> str:
        """Return the same words in every process."""
        return "Client()"


# Some servers do not know the checksums that newer clients add. A store that does not answer must
# not hold a visitor for minutes.
CLIENT = Client(
    s3={"addressing_style": "path"},
    signature_version="s3v4",
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
    connect_timeout=5,
    read_timeout=30,
    retries={"total_max_attempts": 3},
)


def storage(folder: str) -> dict[str, Any]:
    """Return the entry of STORAGES that keeps files below `folder` of the bucket."""
    return {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "access_key": env.secret("S3_ACCESS_KEY", default=""),
            "secret_key": env.secret("S3_SECRET_KEY", default=""),
            "bucket_name": env.text("S3_BUCKET", ""),
            "endpoint_url": ENDPOINT or None,
            "region_name": env.text("S3_REGION", "us-east-1"),
            "location": folder,
            "client_config": CLIENT,
            "default_acl": None,
            "file_overwrite": False,  # of two uploads of one name, both are kept
            "querystring_auth": True,
        },
    }


def with_store(policy: str) -> str:
    """Return the Content-Security-Policy `policy` with images, audio and video of the store too."""
    parts = urlsplit(ENDPOINT)
    if not parts.netloc:
        return policy
    store = f"{parts.scheme}://{parts.netloc}"
    return policy.replace("img-src 'self'", f"media-src 'self' {store}; img-src 'self' {store}")
