"""Clusters that live as long as one test run, and leave nothing behind."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .application import Application
from .binaries import Source
from .cluster import Cluster
from .errors import EmbeddedPostgresError
from .locks import try_hold
from .ports import free_port
from .privileges import RunAs

PREFIX = "pg-test-"
# Linux keeps these files in memory. On an ext4 disk, making a database of 300 files costs 0.26 s
# of CPU, and 0.02 s there.
MEMORY = Path("/dev/shm")  # noqa: S108  mkdtemp makes the name in it, 0700
MEMORY_BYTES = 1 << 30  # free: each of the tests' four clusters takes 100 to 300 MB
ATTEMPTS = 5  # at a port that was free a moment ago


@contextmanager
def temporary_cluster(
    source: Source = "auto", run_as: RunAs = "auto", *, memory: bool = True
) -> Iterator[Cluster]:
    """Yield a running cluster on a free port, without fsync; it is stopped and deleted at the end.

    Its files are in memory if there is room, unless ``memory`` is False. What a killed run has left
    in the same places is stopped and deleted first.
    """
    for base in (MEMORY, _disk()):
        _sweep(base)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place(memory=memory)))
    folder.chmod(0o711)  # the server may have another uid; what is in it is private by itself
    # Held as long as we live: tells a living run's folder from a dead one's.
    in_use = try_hold(folder / "in-use")
    cluster = Cluster(folder / "pg", source=source, run_as=run_as, durable=False)
    try:
        _start(cluster)
        yield cluster
    finally:
        cluster.remove()
        shutil.rmtree(folder, ignore_errors=True)
        if in_use is not None:
            os.close(in_use)


def _start(cluster: Cluster) -> None:
    application = Application("tester", "tester", secrets.token_urlsafe(16), superuser=True)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            cluster.start(free_port(), application)
        except EmbeddedPostgresError as error:
            # Another program may have taken the port between the question and the start.
            if attempt == ATTEMPTS or not error.what.startswith("Port "):
                raise
        else:
            _prove_cheaply(cluster, application)
            return


def _prove_cheaply(cluster: Cluster, application: Application) -> None:
    """Let the same password cost one round of SCRAM, not 4096: 5 ms of CPU for each connection."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", application.password.encode(), salt, 1)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (
        base64.b64encode(part).decode() for part in (salt, stored, server)
    )
    verifier = f"SCRAM-SHA-256$1:{salt_text}${stored_text}:{server_text}"
    cluster.query("ALTER ROLE CURRENT_USER PASSWORD :'verifier'", {"verifier": verifier})


def place(*, memory: bool = True) -> Path:
    """The folder for short-lived files: in memory if that is wanted and there is room."""
    return MEMORY if memory and _has_memory() else _disk()


def _has_memory() -> bool:
    """Whether files can be kept in memory, and programs run from there (a copied wheel's)."""
    try:
        found = os.statvfs(MEMORY)
    except OSError:  # not Linux
        return False
    room = found.f_bavail * found.f_frsize
    runs = not found.f_flag & os.ST_NOEXEC
    return os.access(MEMORY, os.W_OK) and runs and room >= MEMORY_BYTES


def _disk() -> Path:
    """A short path, since socket paths are limited to about 100 bytes."""
    short = Path("/tmp")  # noqa: S108  mkdtemp makes the name in it, 0700
    return short if os.access(short, os.W_OK) else Path(tempfile.gettempdir())


def _sweep(base: Path) -> None:
    for folder in base.glob(f"{PREFIX}*"):
        try:
            if folder.lstat().st_uid != os.geteuid() or not (folder / "in-use").exists():
                continue
            held = try_hold(folder / "in-use")
        except (FileNotFoundError, EmbeddedPostgresError):
            continue  # another run is removing it
        if held is None:
            continue
        try:
            Cluster(folder / "pg", durable=False).remove()
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(held)
