"""Read the environment: the one module that does.

Every function takes the name of a variable and returns a checked value. A variable that is set
but empty counts as not set, because that is what ``NAME=`` in an environment file means. A value
that cannot work raises `ImproperlyConfigured` with one line: what is wrong, what to do next.
"""

import os
import re
from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo

from django.core.exceptions import ImproperlyConfigured
from dotenv import load_dotenv

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})

# RFC 1123 labels, with underscores left out: browsers and certificates have no use for them.
HOST_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*", re.IGNORECASE)


def load_file(path: Path) -> None:
    """Add what the environment file at `path` says, if there is one; never override a variable."""
    try:
        load_dotenv(path, encoding="utf-8-sig")  # editors on Windows write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(
            f"{path} cannot be read ({_reason(error)}). "
            "Make it a UTF-8 text file that this user may read."
        ) from error


def text(name: str, default: str | None = None) -> str:
    """Return the value of `name`, else `default`; raise when there is neither."""
    value = os.environ.get(name, "")
    if value:
        return value
    if default is None:
        raise ImproperlyConfigured(f"{name} is not set. Set it in the environment or in .env.")
    return default


def secret(name: str, default: str | None = None) -> str:
    """Return the secret `name`: its value, or the content of the file that `name`_FILE names.

    Raise when both are set, since nobody could tell which of them counts.
    """
    value, file = text(name, ""), text(f"{name}_FILE", "")
    if value and file:
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set. Keep one of them.")
    if file:
        return _content(f"{name}_FILE", Path(file))
    if not value and default is None:
        raise ImproperlyConfigured(
            f"{name} is not set. Set it in the environment or in .env, "
            f"or set {name}_FILE to the path of a file that holds it."
        )
    return value or default or ""


def flag(name: str, *, default: bool) -> bool:
    """Return a switch: true, yes, on, 1 or false, no, off, 0, in any case."""
    value = text(name, "").lower()
    if value and value not in TRUE | FALSE:
        raise ImproperlyConfigured(f"{name} is {value!r}. Set it to true or false.")
    return value in TRUE if value else default


def integer(name: str, default: int) -> int:
    """Return a whole number, zero or more."""
    value = text(name, str(default))
    if not re.fullmatch(r"[0-9]+", value):
        raise ImproperlyConfigured(f"{name} is {value!r}. Set it to a whole number, 0 or more.")
    return int(value)


def words(name: str) -> list[str]:
    """Return a list: the value split at commas and white space, without empty items."""
    return [word for word in re.split(r"[,\s]+", text(name, "")) if word]


def assume(name: str, value: str) -> None:
    """Let `name` be `value` unless the environment says otherwise; .env does not count."""
    os.environ.setdefault(name, value)


def part(name: str) -> bool:
    """Return whether the optional part `name` of the kit is on, such as "tasks"."""
    return name in words("COMPOSE_PROFILES")


def host_names(name: str) -> list[str]:
    """Return a list of bare host names, in lower case."""
    hosts = [host.lower() for host in words(name)]
    for host in hosts:
        if not HOST_NAME.fullmatch(host):
            raise ImproperlyConfigured(
                f"{name} holds {host!r}. Write only the host name, such as www.example.com: "
                "no https://, no port, no path."
            )
    return hosts


def log_level(name: str, default: str) -> str:
    """Return the name of a log level that Python knows, in upper case."""
    level = text(name, default).upper()
    known = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    if level not in known:
        raise ImproperlyConfigured(f"{name} is {level!r}. Set it to one of {', '.join(known)}.")
    return level


def time_zone(name: str, default: str) -> str:
    """Return the name of a time zone that the time zone database knows."""
    zone = text(name, default)
    try:
        ZoneInfo(zone)
    except (OSError, ValueError, LookupError) as error:
        raise ImproperlyConfigured(
            f"{name} is {zone!r}, which is no time zone. Set it to a name such as Europe/Berlin."
        ) from error
    return zone


def development_database_url() -> str | None:
    """Return the URL of the development database that is published on this machine, if any.

    Made from POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB and DEV_DB_PORT, so that manage.py and
    an editor work in a clone without more ado. None where there is no POSTGRES_PASSWORD.
    """
    password = text("POSTGRES_PASSWORD", "")
    if not password:
        return None
    user = text("POSTGRES_USER", "postgres")
    database = text("POSTGRES_DB", user)
    port = integer("DEV_DB_PORT", 5432)
    return (
        f"postgres://{quote(user, safe='')}:{quote(password, safe='')}"
        f"@127.0.0.1:{port}/{quote(database, safe='')}"
    )


def _content(name: str, path: Path) -> str:
    """Return what the secret file holds, without the one line end that editors add."""
    try:
        value = path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(
            f"{name} names {path}, which cannot be read ({_reason(error)})."
        ) from error
    if not value:
        raise ImproperlyConfigured(f"{name} names {path}, which is empty. Write the secret in it.")
    return value


def _reason(error: OSError | UnicodeDecodeError) -> str:
    """Return the cause in words; never the content of the file, which may be secret."""
    return error.strerror or "read error" if isinstance(error, OSError) else "not UTF-8 text"
