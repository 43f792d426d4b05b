"""The programs that write a set: PostgreSQL's own, of the server's major, and how they are run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from postdo.copy import die_with_parent
from postdo.copy.program_version import FOLDERS, program_major
from postdo_backup.errors import BackupFailed

KILL_SECONDS = 2.0  # from SIGTERM to SIGKILL
DISK_FULL = ("no space left on device", "disk quota exceeded")
FREE_SOME = "free some disk space there, then run the command again"


def program(name: str, major: int) -> Path:
    """The path of one of PostgreSQL's programs of that major.

    ``POSTDO_PG_BIN`` names the folder; else the usual ones and the PATH are searched. Raises
    ``BackupFailed``, which says what to install.
    """
    asked = os.environ.get("POSTDO_PG_BIN")
    folders = [asked] if asked else [folder.format(major=major) for folder in FOLDERS]
    if not asked and (found := shutil.which(name)):
        folders.append(str(Path(found).parent))
    for folder in folders:
        path = Path(folder) / name
        if program_major(path) == major:
            return path
    if os.environ.get("POSTDO_MODE"):  # in the kit, whose image has them
        raise BackupFailed(
            f"the site's image has no {name} of PostgreSQL {major}, the server's major",
            "build it again: sh run.sh -0, or sh run.sh -1 in development",
        )
    raise BackupFailed(
        f"there is no {name} of PostgreSQL {major}, the server's major, in {', '.join(folders)}",
        f"install postgresql-client-{major} (the package's name in Debian)",
    )


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    source: IO[bytes] | int = subprocess.DEVNULL,
    output: IO[bytes] | int = subprocess.DEVNULL,
    secret: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for as long as the block, then wait for it.

    Raises ``BackupFailed`` with what it said if it fails. It does not outlive this process, however
    that ends: a pg_dump would keep its locks on every table. ``secret``: variables for it alone.
    """
    name = Path(command[0]).name
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                die_with_parent.__file__,
                str(os.getpid()),
                *map(str, command),
            ],
            env={**os.environ, "LC_ALL": "C", **(secret or {})},
            stdin=source,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        try:
            with suppress(BrokenPipeError):  # it has ended, and its own message says why
                yield process
            if process.stdin is not None:
                with suppress(BrokenPipeError):
                    process.stdin.close()
            status = process.wait()
        except BaseException:
            _end(process)
            raise
        if status != 0:
            errors.seek(0)
            raise failed(name, errors.read().decode(errors="replace"), status)


def run(command: Sequence[str | Path], secret: Mapping[str, str] | None = None) -> str:
    """Run a program to its end; what it printed. Raises ``BackupFailed``."""
    with tempfile.TemporaryFile() as output:
        with running(command, output=output, secret=secret):
            pass
        output.seek(0)
        return output.read().decode(errors="replace")


def failed(name: str, said: str, status: int) -> BackupFailed:
    """What to say of a program that ended with ``status``."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line.lower()] or lines[-1:]
    first = errors[0] if errors else f"it ended with status {status}"
    first = re.sub(rf"^(\S*/)?{re.escape(name)}: (error: )?", "", first)
    if any(sign in said.lower() for sign in DISK_FULL):
        return BackupFailed(f"the disk is full ({name}: {first})", FREE_SOME)
    return BackupFailed(f"{name} failed: {first}", "fix the cause, then run the command again")


def _end(process: subprocess.Popen[bytes]) -> None:
    for number, seconds in ((signal.SIGTERM, KILL_SECONDS), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return
