"""PostgreSQL's own programs: which ones, connected as Django is, and certainly ended."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base.context import Run
from postdo.base.errors import Refused
from postdo.copy.program_version import FOLDERS, program_major

KILL_SECONDS = 2.0  # from SIGTERM to SIGKILL; less than stop.UNWIND_SECONDS
KEPT_BYTES = 65_536  # of what a program says on its standard error
TETHER = Path(__file__).with_name("die_with_parent.py")

# What follows an error of the server, and says more than its context does.
DETAILS = ("DETAIL:", "HINT:", "Command was:")

# Variable of the environment per parameter of a connection: libpq's "Environment Variables",
# PostgreSQL 14 to 18. What has no variable (keepalives) is left to its default.
VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "options": "PGOPTIONS",
    "sslmode": "PGSSLMODE",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "sslcompression": "PGSSLCOMPRESSION",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcertmode": "PGSSLCERTMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR",
    "sslsni": "PGSSLSNI",
    "requirepeer": "PGREQUIREPEER",
    "require_auth": "PGREQUIREAUTH",
    "channel_binding": "PGCHANNELBINDING",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "gssencmode": "PGGSSENCMODE",
    "gssdelegation": "PGGSSDELEGATION",
    "gsslib": "PGGSSLIB",
    "krbsrvname": "PGKRBSRVNAME",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
}


@dataclass(frozen=True)
class Programs:
    """pg_dump and pg_restore of the server's own major."""

    pg_dump: Path
    pg_restore: Path


class ProgramFailedError(Exception):
    """A program failed. ``said``: its message, one line; ``details``: further lines."""

    def __init__(self, program: str, said: str, details: tuple[str, ...] = ()) -> None:
        super().__init__(f"{program}: {said}")
        self.program = program
        self.said = said
        self.details = details


class OutOfTimeError(Exception):
    """The programs did not finish in time, and were ended."""


@dataclass
class _Child:
    name: str
    process: subprocess.Popen[bytes]
    said: bytearray = field(default_factory=bytearray)


def programs(run: Run, major: int) -> Programs:
    """Find pg_dump and pg_restore of this major: ``POSTDO_PG_BIN``, the usual folders, the PATH.

    The major must be the server's: a newer pg_dump writes what an older server cannot read. Raises
    ``Refused``, which says what to install.
    """
    asked = run.config.pg_bin
    folders = [asked] if asked else [Path(folder.format(major=major)) for folder in FOLDERS]
    on_path = None if asked else shutil.which("pg_dump")
    if on_path:
        folders.append(Path(on_path).parent)
    seen = []
    for folder in folders:
        found = Programs(folder / "pg_dump", folder / "pg_restore")
        versions = {program_major(found.pg_dump), program_major(found.pg_restore)}
        if versions == {major}:
            return found
        seen += [f"{folder} has {version}" for version in versions if version]
    where = f"POSTDO_PG_BIN={asked}" if asked else "the usual folders and the PATH"
    raise Refused(
        f"no pg_dump and pg_restore of PostgreSQL {major}, the server's major, in {where}"
        + (f" ({', '.join(seen)})" if seen else ""),
        f"install postgresql-client-{major} (the package's name in Debian), or set POSTDO_PG_BIN "
        "to the folder that has them, or set REHEARSE=off to skip the copy",
    )


def environment(session: BaseDatabaseWrapper, application_name: str) -> dict[str, str]:
    """The environment variables with which a program connects to the session's server, as it did.

    They come from the live session, which knows what settings, service file and password file made
    together. The password is passed this way because everybody can read a program's arguments.
    """
    connection: Any = session.connection
    info = connection.info
    live = info.dsn_parameters if hasattr(info, "dsn_parameters") else info.get_parameters()
    parameters = {**live, "password": info.password or ""}
    own = {
        VARIABLES[key]: str(value)
        for key, value in parameters.items()
        if key in VARIABLES and str(value)
    }
    # A service would outrank all of it; and we read the programs' messages, so no translation.
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return {**inherited, **own, "PGAPPNAME": application_name, "LC_ALL": "C"}


def run_together(
    commands: Sequence[Sequence[str]], variables: Mapping[str, str], deadline: float
) -> None:
    """Run one program, or two of which the first writes into the second, until they end.

    ``deadline``: on the monotonic clock. Raises ``ProgramFailedError`` or ``OutOfTimeError``.
    However it ends, no program is left running.
    """
    with ExitStack() as stack:
        children: list[_Child] = []
        source: IO[bytes] | None = None
        for number, command in enumerate(commands):
            last = number == len(commands) - 1
            child = stack.enter_context(_started(command, variables, source, piped=not last))
            if source is not None:
                source.close()  # ours; the program that writes has to notice when nobody reads
            source = child.process.stdout
            children.append(child)
        _listen(children, deadline)
    failed = [child for child in children if child.process.returncode]
    if failed:
        # If the second ends early, the first one's pipe breaks, and that explains nothing.
        broken = b"Broken pipe" in failed[0].said or failed[0].process.returncode < 0
        child = failed[-1] if broken else failed[0]
        raise ProgramFailedError(child.name, *_meaning(child))


@contextmanager
def _started(
    command: Sequence[str],
    variables: Mapping[str, str],
    source: IO[bytes] | None,
    *,
    piped: bool,
) -> Iterator[_Child]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), *command],
        env=variables,
        stdin=source if source is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE if piped else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,  # its helpers are in its group, and end with it
    )
    try:
        yield _Child(Path(command[0]).name, process)
    finally:
        if process.poll() is None:
            _end(process)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _listen(children: Sequence[_Child], deadline: float) -> None:
    """Read what they say until all have ended."""
    with selectors.DefaultSelector() as selector:
        for child in children:
            assert child.process.stderr is not None  # noqa: S101  it was asked for
            selector.register(child.process.stderr, selectors.EVENT_READ, child)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise OutOfTimeError
            for key, _ in selector.select(None if left == float("inf") else left):
                chunk = os.read(key.fd, KEPT_BYTES)
                if not chunk:
                    selector.unregister(key.fileobj)
                room = KEPT_BYTES - len(key.data.said)  # the first error is the one that counts
                key.data.said.extend(chunk[:room])
    for child in children:
        child.process.wait()


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(KILL_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _meaning(child: _Child) -> tuple[str, tuple[str, ...]]:
    """What a program that failed said: its first error, and which object that was about."""
    lines = [line.strip() for line in child.said.decode(errors="replace").splitlines()]
    lines = [line for line in lines if line]
    errors = [line for line in lines if "error:" in line or "ERROR:" in line]
    fallback = lines[-1] if lines else f"ended with status {child.process.returncode}"
    said = errors[0] if errors else fallback
    said = re.sub(rf"^(.*/)?{child.name}: ", "", said).removeprefix("error: ")
    said = re.sub(r"^(could not execute query|query failed|[^:]*failed): (?=ERROR:)", "", said)
    details = tuple(line for line in lines if line.startswith(DETAILS))
    return re.sub(r"\b(ERROR|FATAL):\s+", "", said), details
