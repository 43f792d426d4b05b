"""The environment, read once and validated; no other module of the package reads it."""

from __future__ import annotations

import enum
import math
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from postdo.base.errors import Misconfigured

SETTINGS_VARIABLE = "DJANGO_SETTINGS_MODULE"
RESULT_VARIABLE = "POSTDO_RESULT"
SUPERUSER_PREFIX = "DJANGO_SUPERUSER_"
DEFAULT_STAMP = Path("/opt/kit/check-stamp.json")
DEFAULT_WAIT_SECONDS = 60.0  # a first start of PostgreSQL on a slow disk takes 10 to 30 s
# Whoever is let into the serving process finds none of these there.
SECRETS = (
    "DJANGO_SUPERUSER_PASSWORD",
    "PGADMIN_DEFAULT_PASSWORD",
    "POSTDO_RELEASE_ROLE",
    "POSTDO_RELEASE_PASSWORD",
    RESULT_VARIABLE,
)
# Switches among the DJANGO_SUPERUSER_* variables; every other one names a field of the user.
SUPERUSER_SWITCHES = frozenset({"PASSWORD", "PASSWORD_FILE", "UPDATE_PASSWORD"})
TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"", "0", "false", "no", "off"})
# With a dot or a port, so that no word is taken for one; or the path of a socket.
HOST = re.compile(r"(?=.*[.:/])(?:[\w.-]+|\[[0-9A-Fa-f:.]+\]|/[\w./-]+)(?::\d{1,5})?", re.ASCII)


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


class Rehearse(enum.Enum):
    """On what the pending migrations are tried before production."""

    FULL = "full"
    SCHEMA = "schema"
    OFF = "off"


class Answer(enum.Enum):
    """What a danger that a plan found leads to: go on, ask a person (``--approve``), or refuse."""

    ALLOW = "allow"
    ASK = "ask"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Policies:
    """What to do where a change could do harm, and the limits within which it is made.

    What each danger leads to (``Answer``):

    - ``drift``: a pending migration touches a table whose schema somebody changed by hand.
    - ``incompatible``: the serving release would fail on the new schema. ``allow`` if
      ``POSTDO_SERVING`` says that none is serving.
    - ``loss``: rows or columns would be lost.
    - ``files``: a migration would change files, which no rollback restores.
    - ``downtime``: tables locked for longer than ``lock_seconds``, or a swap of databases.
      ``allow`` if no release is serving.

    Locks:

    - ``lock_timeout_ms``: how long one statement waits for a lock, in milliseconds.
    - ``lock_retry_seconds``: for how long the whole change is tried again after such a time-out.
    - ``lock_seconds``: for how long a table may be locked.

    The rehearsal:

    - ``rehearse``: on what; see ``Rehearse``. ``rehearse_seconds``: limit for copy and rehearsal.
    - ``copy_mb``: the biggest database that is copied. ``dump_mb``: the biggest that is copied by
      dump and restore; above it a base backup is used, where the caller can make one.
    - ``copy_port``: port of the server that already has such a base backup, 0 if there is none; it
      took ``copy_seconds``.
    - ``memory_mb``: what the rehearsal's process may use; 0 for no limit.
    - ``server_free_mb``: free disk space of the database server, ``None`` if nobody told.
    - ``network``: whether the rehearsal may reach the network; ``hosts``: what it may reach in any
      case, as ``host`` or ``host:port``.
    - ``switch_seconds``: how long the last release took from the migrated schema until it served, 0
      if unknown.
    - ``in_kit``: whether people type ``sh run.sh``, for messages.
    """

    drift: Answer = Answer.REFUSE
    incompatible: Answer = Answer.ASK
    loss: Answer = Answer.ASK
    files: Answer = Answer.ASK
    downtime: Answer = Answer.ASK
    rehearse: Rehearse = Rehearse.FULL
    lock_timeout_ms: int = 300  # HAZARDS 43: worst request 0.3 s instead of 4.5 s
    lock_retry_seconds: float = 60.0
    lock_seconds: float = 5.0
    rehearse_seconds: float = 1800.0
    copy_mb: int = 20_000
    dump_mb: int = 4000  # docs/decisions/copy.md
    copy_port: int = 0
    copy_seconds: float = 0.0
    memory_mb: int = 0
    server_free_mb: int | None = None
    network: bool = False
    hosts: tuple[str, ...] = ()
    switch_seconds: float = 0.0
    in_kit: bool = False


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
class Login:
    """A role of the project's server, and its password in clear."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Config:
    """What the environment and the command line say, validated.

    - ``wait_seconds``: how long to wait for the database.
    - ``stamp``: the file that remembers a successful check of the models; ``refresh_stamp``:
      whether a check at start may rewrite it.
    - ``in_kit``: whether the process runs under ``run.sh``, which decides what messages tell to
      type.
    - ``host``: name of this machine or container, shown to whoever looks at a lock.
    - ``release``: version of the code, empty if unknown.
    - ``policies``: how changes of the schema are made.
    - ``backups``: the folder for them, ``None`` for no backups; ``keep``: how many stay in it.
    - ``pg_bin``: the folder of ``pg_dump``, if it is not found by itself.
    - ``approval``: the checksum of the plan that a person approved. ``concurrently``: run
      operations with CONCURRENTLY outside of the one transaction, which cannot be undone as a
      whole.
    - ``commands``: name and command of each line of .env that needs a management command.
    - ``creator``: the role that creates and renames databases, where the project's own role may
      not.
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
    release: str = ""
    policies: Policies = Policies()
    backups: Path | None = None
    keep: int = 3
    pg_bin: Path | None = None
    approval: str = ""
    concurrently: bool = False
    commands: tuple[tuple[str, str], ...] = ()
    creator: Login | None = None

    def manage(self, arguments: str) -> str:
        """The command line, for a message, that runs a ``manage.py`` command in development."""
        if not self.in_kit:
            return f"python manage.py {arguments}"
        # Where production runs, development in Docker may never have been built.
        flag = "-1" if self.mode is Mode.DEVELOPMENT else "-2"
        return f"sh run.sh {flag} manage {arguments}"

    def approve(self, checksum: str) -> str:
        """The command line, for a message, that releases with this approved plan."""
        if self.in_kit and self.mode is Mode.PRODUCTION:
            mode = " --concurrently" if self.concurrently else ""
            return f"sh run.sh -0{mode} --approve {checksum}"
        return f"postdo migrate --approve {checksum}"

    def postdo(self, arguments: str) -> str:
        """The command line, for a message, that runs a postdo command on production."""
        return f"sh run.sh {arguments}" if self.in_kit else f"postdo {arguments}"

    @property
    def psql(self) -> str:
        """The command line, for a message, that opens a SQL prompt on this database."""
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
        release=environment.get("APP_VERSION", ""),
        policies=_policies(environment),
        backups=_path(environment, "POSTDO_BACKUPS"),
        keep=_whole(environment, "BACKUP_KEEP", 3, "a number of backups", least=1),
        pg_bin=_path(environment, "POSTDO_PG_BIN"),
        approval=environment.get("POSTDO_APPROVE", "").strip(),
        concurrently=bool(environment.get("POSTDO_CONCURRENTLY")),
        commands=_commands(environment),
        creator=_creator(environment),
    )


def result_file(environment: Mapping[str, str]) -> Path | None:
    """The path in ``POSTDO_RESULT``, where this run writes its facts; ``None`` if it is not set."""
    return _path(environment, RESULT_VARIABLE)


def _policies(environment: Mapping[str, str]) -> Policies:
    usual = Policies()
    network, hosts = _network(environment)
    # Where nothing serves, nobody meets the new schema with old code, and nobody waits for a table.
    none_serves = environment.get("POSTDO_SERVING") == "no"
    incompatible = _choice(environment, "ON_INCOMPATIBLE", Answer, usual.incompatible)
    downtime = _choice(environment, "ON_DOWNTIME", Answer, usual.downtime)
    return Policies(
        drift=_choice(environment, "ON_DRIFT", Answer, usual.drift),
        incompatible=Answer.ALLOW if none_serves else incompatible,
        loss=_choice(environment, "ON_LOSS", Answer, usual.loss),
        files=_choice(environment, "ON_FILES", Answer, usual.files),
        downtime=Answer.ALLOW if none_serves else downtime,
        rehearse=_choice(environment, "REHEARSE", Rehearse, usual.rehearse),
        lock_timeout_ms=_whole(
            environment, "LOCK_TIMEOUT_MS", usual.lock_timeout_ms, "milliseconds", least=1
        ),
        lock_retry_seconds=_seconds(environment, "LOCK_RETRY_SECONDS", usual.lock_retry_seconds),
        lock_seconds=_seconds(environment, "LOCK_SECONDS", usual.lock_seconds),
        rehearse_seconds=_seconds(environment, "REHEARSE_SECONDS", usual.rehearse_seconds),
        copy_mb=_whole(environment, "REHEARSE_MAX_MB", usual.copy_mb, "megabytes"),
        dump_mb=_whole(environment, "REHEARSE_DUMP_MB", usual.dump_mb, "megabytes"),
        copy_port=_whole(environment, "POSTDO_COPY_SERVER", 0, "a port"),
        copy_seconds=_seconds(environment, "POSTDO_COPY_SECONDS", 0.0),
        memory_mb=_whole(environment, "REHEARSE_MEMORY_MB", usual.memory_mb, "megabytes"),
        server_free_mb=_whole(environment, "POSTDO_SERVER_FREE_MB", -1, "megabytes")
        if environment.get("POSTDO_SERVER_FREE_MB")
        else None,
        network=network,
        hosts=hosts,
        switch_seconds=_seconds(environment, "POSTDO_SWITCH_SECONDS", 0.0),
        in_kit=bool(environment.get("POSTDO_MODE")),
    )


def announce_settings(settings_module: str) -> None:
    """Set ``DJANGO_SETTINGS_MODULE`` for Django here, and for processes that are started later."""
    os.environ[SETTINGS_VARIABLE] = settings_module


def hide_secrets() -> None:
    """Remove from the environment the secrets that neither migrations nor the server need."""
    for name in SECRETS:
        os.environ.pop(name, None)


def _commands(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    pairs = (word.partition("=") for word in environment.get("POSTDO_COMMANDS", "").split())
    return tuple((name, command) for name, _, command in pairs)


def _creator(environment: Mapping[str, str]) -> Login | None:
    user = environment.get("POSTDO_RELEASE_ROLE", "")
    return Login(user, environment.get("POSTDO_RELEASE_PASSWORD", "")) if user else None


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
            f"both {name} and {name}_FILE are set",
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
            "fix the path or the permissions of the file",
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
            f"{name} is {environment[name]!r}, but must be one of: {known}",
            f"set {name} to one of: {known}; or leave it empty for {default.value}",
        ) from None


def _switch(environment: Mapping[str, str], name: str) -> bool:
    value = environment.get(name, "").strip().lower()
    if value in TRUE_WORDS:
        return True
    if value in FALSE_WORDS:
        return False
    raise Misconfigured(
        f"{name} is {environment[name]!r}, but must be on or off",
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
            f"{name} is {value!r}, but must be a number of seconds",
            f"set {name} to a whole number such as {default:.0f}; 0 tries once",
        )
    return seconds


def _whole(
    environment: Mapping[str, str], name: str, default: int, unit: str, *, least: int = 0
) -> int:
    value = environment.get(name, "").strip()
    if not value:
        return default
    if not (value.isascii() and value.isdigit() and int(value) >= least):
        raise Misconfigured(
            f"{name} is {value!r}, but must be {unit}",
            f"set {name} to a whole number of at least {least}, such as {default}",
        )
    return int(value)


def _network(environment: Mapping[str, str]) -> tuple[bool, tuple[str, ...]]:
    """Whether all of the network is open in a rehearsal, and else which hosts."""
    value = environment.get("REHEARSE_NETWORK", "").strip()
    if value.lower() in ("", "block", "allow"):
        return value.lower() == "allow", ()
    hosts = tuple(value.split(","))
    for host in hosts:
        if not HOST.fullmatch(host):
            raise Misconfigured(
                f"REHEARSE_NETWORK is {value!r}, but must be block, allow, or hosts with commas "
                "between them",
                "set REHEARSE_NETWORK to block, to allow, or to hosts such as redis:6379,"
                "api.example.com",
            )
    return False, hosts


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    value = environment.get(name, "").strip()
    return Path(value) if value else None
