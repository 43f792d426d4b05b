"""Drives `python -m embedded_postgres` as run.sh does, in a folder that is certainly removed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import forkserver
import pytest

from embedded_postgres.binaries import available
from embedded_postgres.locks import try_hold
from embedded_postgres.ports import free_port
from embedded_postgres.temporary import place

ROOT = Path(__file__).resolve().parent.parent
NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")


class Embedded:
    """One folder with one cluster in it, in `home`, on `port`.

    `prefix` is put before every command (to be another user), `binaries` and `run_as` go to every
    command as options.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.port = free_port()
        self.user, self.database, self.password = "site", "site", "pass-word_1"
        self.extensions = ""
        self.binaries, self.run_as = "auto", "auto"
        self.prefix: tuple[str, ...] = ()
        self.python = sys.executable
        self.code = ROOT
        self.password_file = folder / "password"

    def command(self, verb: str, *options: str) -> list[str]:
        """The words of one command."""
        common = ["--data", str(self.home), "--binaries", self.binaries, "--run-as", self.run_as]
        module = [self.python, "-m", "embedded_postgres"]
        return [*self.prefix, *module, verb, *common, *options]

    def start_command(self, *options: str) -> list[str]:
        self.password_file.write_text(self.password + "\n")
        words = ["--port", str(self.port), "--user", self.user, "--database", self.database]
        words += ["--extensions", self.extensions, "--password-file", str(self.password_file)]
        return self.command("start", *words, *options)

    def environment(self) -> dict[str, str]:
        """That of the tests, without what keeps a program from being forked."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(forkserver.START_PREFIXES) and name not in forkserver.START_NAMES
        }
        return kept | {"PYTHONPATH": str(self.code), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run to the end, whatever the exit code."""
        return forkserver.run(
            words,
            env=self.environment(),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def begin(self, words: Sequence[str]) -> subprocess.Popen[str]:
        """Start a command in a process group of its own, as a shell does; its output is dropped."""
        return subprocess.Popen(
            words,
            env=self.environment(),
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def start(self) -> dict[str, Any]:
        """Start, which must work; what it reports."""
        done = self.run(self.start_command("--json"))
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def failure(self, words: Sequence[str], code: int = 4) -> str:
        """Run a command that must fail with that exit code; its message."""
        done = self.run(words)
        assert done.returncode == code, f"exit code {done.returncode}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stderr

    def status(self) -> dict[str, Any]:
        done = self.run(self.command("status", "--json"))
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def stop(self) -> str:
        done = self.run(self.command("stop"))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def query(self, sql: str) -> str:
        """Run SQL as the site's role, through the psql command; what it printed."""
        done = self.run(self.command("psql", "--", "-X", "-A", "-t", "-q", "-c", sql))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def is_anything_alive(self) -> bool:
        """Whether a process of the server (or of its making) is left."""
        if not (self.home / "alive").exists():
            return False
        held = try_hold(self.home / "alive")
        if held is None:
            return True
        os.close(held)
        return False

    @property
    def data(self) -> Path:
        return self.home / "server" / "data"


@contextmanager
def embedded_folder(mode: int = 0o700) -> Iterator[Embedded]:
    """A folder of a short path with nothing in it yet; server and folder are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="pge-", dir=place()))
    folder.chmod(mode)
    embedded = Embedded(folder)
    try:
        yield embedded
    finally:
        if embedded.home.exists():
            if is_root():
                embedded.prefix = ()
            embedded.stop()
        assert not embedded.is_anything_alive(), f"a server is left in {embedded.home}"
        elsewhere = (embedded.home / "server").resolve()
        for left in (folder, elsewhere):
            shutil.rmtree(left, ignore_errors=True)


def kill_9(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def is_root() -> bool:
    return os.geteuid() == 0


def python_of_everybody() -> str:
    """A Python that nobody's uid can run too; ours may be below /root."""
    question = "import sys; sys.exit(sys.version_info < (3, 10))"
    for candidate in (Path("/usr/bin/python3"), Path("/usr/local/bin/python3")):
        ask = [*AS_NOBODY, str(candidate), "-c", question]
        if candidate.exists() and subprocess.run(ask, check=False).returncode == 0:
            return str(candidate)
    pytest.skip("no Python 3.10 that every user may run")


def psql_of_everybody() -> str:
    """A psql that nobody's uid can run too."""
    for found in available("auto"):
        psql = found.program("psql")
        if subprocess.run([*AS_NOBODY, psql, "-V"], check=False).returncode == 0:
            return psql
    pytest.skip("no psql that every user may run")
