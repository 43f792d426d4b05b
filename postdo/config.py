"""The environment, read once and validated; no other module of the package reads it."""

from __future__ import annotations

import enum
import math
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from postdo.errors import Misconfigured

SETTINGS_VARIABLE = "DJANGO_SETTINGS_MODULE"
SUPERUSER_PREFIX = "DJANGO_SUPERUSER_"
DEFAULT_STAMP = Path("/opt/kit/check-stamp.json")
DEFAULT_WAIT_SECONDS = 60.0  # a first start of PostgreSQL on a slow disk takes 10 to 30 s
# Switches among the DJANGO_SUPERUSER_* variables; every other one names a field of the user.
SUPERUSER_SWITCHES = frozenset({"PASSWORD", "PASSWORD_FILE", "UPDATE_PASSWORD"})
TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"", "0", "false", "no", "off"})


Chosen = TypeVar("Chosen", bound=enum.Enum)


class Mode(enum.Enum):
    """Where the process runs. Without the kit nothing says so, and the strictest one counts."""

    PRODUCTION = "production"
    DEVELOPMENT = "development"
    LOCAL = "local"


class Policy(enum.Enum):
    """What to do about models that have no migration yet."""

    WRITE = "write"
    CHECK = "check"
    OFF = "off"


@dataclass(frozen=True)
class SuperuserRequest:
    """The superuser that the environment asks for.

    ``fields``: value per lower-case field name, from ``DJANGO_SUPERUSER_<FIELD>``; at least one.
    ``password``: in clear, ``None`` if not given. ``update_password``: whether an existing user's
    password is replaced.
    """

    fields: Mapping[str, str]
    password: str | None = field(repr=False)
    update_password: bool


@dataclass(frozen=True)
class Config:
    """What the environment and the command line say.

    ``wait_seconds``: how long to wait for the database, in seconds. ``stamp``: the file that
    remembers a successful check; ``refresh_stamp``: whether a check at start may rewrite it.
    ``in_kit``: whether the process runs under ``run.sh``. ``host``: name of this machine or
    container, for the people who look at a lock.
    """

    settings_module: str
    mode: Mode
    policy: Policy
    wait_seconds: float
    stamp: Path
    refresh_stamp: bool
    superuser: SuperuserRequest | None
    in_kit: bool
    host: str

    def manage(self, arguments: str) -> str:
        """The words that a person types to run a ``manage.py`` command in development."""
        if not self.in_kit:
            return f"python manage.py {arguments}"
        flag = "-2" if self.mode is Mode.LOCAL else "-1"
        return f"sh run.sh {flag} manage {arguments}"

    @property
    def psql(self) -> str:
        """The words that a person types to get a SQL prompt on this database."""
        flags = {Mode.PRODUCTION: "-0", Mode.DEVELOPMENT: "-1", Mode.LOCAL: "-2"}
        return f"sh run.sh {flags[self.mode]} psql" if self.in_kit else "psql"


def read(environment: Mapping[str, str], settings_module: str | None = None) -> Config:
    """Validate the environment (``settings_module``: the value of ``--settings``, if given).

    Raises ``Misconfigured`` naming the variable, its value and the values that it can have.
    """
    module = settings_module or environment.get(SETTINGS_VARIABLE, "")
    if not module:
        raise Misconfigured(
            f"no settings module: {SETTINGS_VARIABLE} is not set",
            f"set {SETTINGS_VARIABLE}, for example to config.settings.prod, or pass --settings",
        )
    mode = _choice(environment, "POSTDO_MODE", Mode, Mode.PRODUCTION)
    default_policy = Policy.CHECK if mode is Mode.PRODUCTION else Policy.WRITE
    policy = _choice(environment, "MAKEMIGRATIONS", Policy, default_policy)
    stamp = environment.get("POSTDO_STAMP", "")
    return Config(
        settings_module=module,
        mode=mode,
        policy=policy,
        wait_seconds=_seconds(environment, "DB_WAIT_SECONDS", DEFAULT_WAIT_SECONDS),
        stamp=Path(stamp) if stamp else DEFAULT_STAMP,
        refresh_stamp=bool(stamp) and policy is Policy.WRITE,
        superuser=_superuser(environment),
        in_kit=bool(environment.get("POSTDO_MODE")),
        host=socket.gethostname(),
    )


def announce_settings(settings_module: str) -> None:
    """Name the settings module where Django looks for it, and whatever is started afterwards."""
    os.environ[SETTINGS_VARIABLE] = settings_module


def _superuser(environment: Mapping[str, str]) -> SuperuserRequest | None:
    fields = {
        name.removeprefix(SUPERUSER_PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(SUPERUSER_PREFIX)
        and name.removeprefix(SUPERUSER_PREFIX) not in SUPERUSER_SWITCHES
        and value
    }
    password = secret(environment, f"{SUPERUSER_PREFIX}PASSWORD")
    update = _switch(environment, f"{SUPERUSER_PREFIX}UPDATE_PASSWORD")
    # A password alone asks for nobody: the kit writes a random one into every new .env.
    if not fields:
        return None
    return SuperuserRequest(fields=fields, password=password, update_password=update)


def secret(environment: Mapping[str, str], name: str) -> str | None:
    """A secret from ``NAME`` or from the file that ``NAME_FILE`` names; ``None`` if neither is.

    One line break at the end of the file is not part of the secret. Raises ``Misconfigured``
    if both are set or the file cannot be read.
    """
    value, path = environment.get(name), environment.get(f"{name}_FILE")
    if value and path:
        raise Misconfigured(
            f"both {name} and {name}_FILE are set, and only one of them can count",
            f"remove {name} or {name}_FILE",
        )
    if not path:
        return value or None
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Misconfigured(
            f"{name}_FILE names {path}, which cannot be read: {reason}",
            "correct the path, or the permissions of the file",
        ) from error
    return text.removesuffix("\n").removesuffix("\r") or None


def _choice(
    environment: Mapping[str, str], name: str, choices: type[Chosen], default: Chosen
) -> Chosen:
    value = environment.get(name, "").strip().lower()
    if not value:
        return default
    try:
        return choices(value)
    except ValueError:
        known = ", ".join(str(choice.value) for choice in choices)
        raise Misconfigured(
            f"{name} is {environment[name]!r}, which is none of: {known}",
            f"set {name} to one of: {known}; or leave it empty for {default.value}",
        ) from None


def _switch(environment: Mapping[str, str], name: str) -> bool:
    value = environment.get(name, "").strip().lower()
    if value in TRUE_WORDS:
        return True
    if value in FALSE_WORDS:
        return False
    raise Misconfigured(
        f"{name} is {environment[name]!r}, which is neither on nor off",
        f"set {name} to on or off",
    )


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    value = environment.get(name, "").strip()
    if not value:
        return default
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if seconds < 0 or not math.isfinite(seconds):
        raise Misconfigured(
            f"{name} is {value!r}, which is not a number of seconds",
            f"set {name} to a whole number such as {default:.0f}; 0 tries once",
        )
    return seconds
