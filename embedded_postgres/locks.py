"""Locks that the kernel releases by itself when their holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import EmbeddedPostgresError, Misconfigured

POLL_SECONDS = 0.05


@contextmanager
def exclusive(path: Path, seconds: float) -> Iterator[None]:
    """Hold the lock on `path` (created if missing), waiting at most `seconds` for it."""
    deadline = time.monotonic() + seconds
    while (descriptor := try_hold(path)) is None:
        if time.monotonic() > deadline:
            raise EmbeddedPostgresError(
                f"Another start or stop of this cluster has been busy for {seconds:.0f} s",
                f"Wait until it ends, or find it with: fuser {path}",
            )
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        os.close(descriptor)


def try_hold(path: Path) -> int | None:
    """Try to take the lock: returns its file descriptor, or None if it is held elsewhere.

    A child that inherits the descriptor holds the lock too, as do its children, until the last of
    them has ended. That is how we know that nothing of a server is left. Close it to release the
    lock.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise Misconfigured(
            f"{path} cannot be opened by this user",
            "Run as the user that created the cluster, or give it to this user: sudo chown -R "
            f"{os.geteuid()} {path.parent}",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
