"""What the site connects with, and which values of it PostgreSQL can take."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import Misconfigured

OWNER = "embedded_owner"  # the bootstrap superuser; the site's own role is another
LONGEST_NAME = 63  # bytes; NAMEDATALEN - 1
EXTENSIONS = re.compile(r"([a-z][a-z0-9_-]*(,[a-z][a-z0-9_-]*)*)?")


@dataclass(frozen=True)
class Application:
    """The site's role and database, and the role's password.

    ``extensions``: those that the superuser creates for the site, separated by commas.
    ``superuser``: whether the role is one itself, as some tests need.
    """

    user: str
    database: str
    password: str
    extensions: str = ""
    superuser: bool = False

    def require_valid(self) -> None:
        """Raise Misconfigured for values that PostgreSQL would refuse or cut off."""
        for key, name in (("POSTGRES_USER", self.user), ("POSTGRES_DB", self.database)):
            if not name or "\0" in name or len(name.encode()) > LONGEST_NAME:
                raise Misconfigured(
                    f"{key} is {name!r}, which PostgreSQL does not accept",
                    f"Set {key} in .env to a name of 1 to {LONGEST_NAME} bytes",
                )
        if self.user == OWNER or self.user.startswith("pg_") or self.user in ("none", "public"):
            raise Misconfigured(
                f"POSTGRES_USER is {self.user!r}, which is reserved",
                "Set POSTGRES_USER in .env to another name",
            )
        if not EXTENSIONS.fullmatch(self.extensions):
            raise Misconfigured(
                f"DB_EXTENSIONS is {self.extensions!r}, which is not a list of names",
                "Set DB_EXTENSIONS in .env to names with commas, such as postgis,pg_trgm",
            )
        if not self.password or set("\0\n\r") & set(self.password):
            raise Misconfigured(
                "POSTGRES_PASSWORD is empty or has a line break in it",
                "Set POSTGRES_PASSWORD in .env to one line of letters and digits",
            )
