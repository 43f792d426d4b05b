"""Call functions of `postdo` in a process of their own, on a project's real database."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import forkserver
from programs import small_file_system
from projects import Outcome, Project, query

from embedded_postgres import Cluster

# What a script has: `run`, `session`, `rows`; our errors end it with 3, a signal with 143.
SCRIPT = """
import os, sys
from postdo.base.config import read
from postdo.base.console import Console
from postdo.base.database import connect, rows
from postdo.base.errors import PostdoError
from postdo.base.context import Run
from postdo.base.signals import Stopped, StopSignals
from postdo.copy import backup, backup_folder, scratch

run = Run(read(os.environ), Console(sys.stdout, sys.stderr), StopSignals())
run.stop.install()
session = connect("postdo test", 10)

def work():
{body}

try:
    work()
except PostdoError as error:
    run.console.fail(type(error).__name__, error)
    sys.exit(3)
except Stopped as stopped:
    sys.exit(stopped.exit_code)
"""


def script(body: str) -> list[str]:
    """The command that runs a body of Python, indented by four."""
    indented = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return [sys.executable, "-c", SCRIPT.format(body=indented)]


def drive(project: Project, body: str, environment: Mapping[str, str] | None = None) -> Outcome:
    """Run a body to its end."""
    return project.execute(script(body), environment)


def start(
    project: Project, body: str, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Run a body and leave it running; both outputs in its `stdout`, and a pipe to its `stdin`."""
    return forkserver.Popen(
        script(body),
        cwd=project.root,
        env=project.variables(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def scratch_names(url: str) -> list[str]:
    """The scratch databases of the server."""
    found = query(url, "SELECT datname FROM pg_database WHERE datname ~ '^postdo_scratch_'")
    return sorted(str(name) for (name,) in found)


def with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@contextmanager
def role_and_database(
    admin: str, *, attributes: str = "CREATEDB", create: str = ""
) -> Iterator[str]:
    """The URL of a database that belongs to a new role, which is no superuser.

    `create`: further words of CREATE DATABASE.
    """
    name = f"plain_{secrets.token_hex(4)}"
    password = f"secret-{secrets.token_hex(8)}"
    query(admin, f"CREATE ROLE {name} LOGIN {attributes} PASSWORD '{password}'")
    query(admin, f"CREATE DATABASE {name} OWNER {name} {create}")
    parts = urlsplit(admin)
    place = f"{name}:{password}@{parts.hostname}:{parts.port}"
    try:
        yield urlunsplit(parts._replace(netloc=place, path=f"/{name}"))
    finally:
        databases = "SELECT datname, pg_get_userbyid(datdba) FROM pg_database"
        for database, owner in query(admin, databases):
            if owner == name:
                query(admin, f"DROP DATABASE {database} WITH (FORCE)")
        query(admin, f"DROP ROLE {name}")


@contextmanager
def small_disk(megabytes: int, uid: int = 0) -> Iterator[Path]:
    """A file system of a few megabytes that belongs to `uid`."""
    with tempfile.TemporaryDirectory(prefix="postdo-disk-") as folder:
        Path(folder).chmod(0o711)
        disk = Path(folder, "disk")
        disk.mkdir()
        with small_file_system(disk, f"size={megabytes}m,uid={uid},mode=0700"):
            yield disk


@contextmanager
def tablespace_on_a_small_disk(
    postgres: Cluster, admin: str, megabytes: int
) -> Iterator[tuple[str, Path]]:
    """The name of a tablespace in which little has room, and its disk."""
    data = postgres.status().data
    assert data is not None
    name = f"small_{secrets.token_hex(4)}"
    with small_disk(megabytes, data.stat().st_uid) as disk:
        query(admin, f"CREATE TABLESPACE {name} LOCATION '{disk}'")
        try:
            yield name, disk
        finally:
            query(admin, f"DROP TABLESPACE {name}")


def fill(disk: Path, *, leave_bytes: int = 0) -> Path:
    """Write to a disk until it has no more room than that. The file that takes it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while shutil.disk_usage(disk).free > leave_bytes and file.write(b"\0" * 4096):
            pass
    return ballast
