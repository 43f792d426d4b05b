"""A set in the making: under another name until it is whole, and gone if it never gets whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from postdo.base.file_lock import try_lock
from postdo_backup import output
from postdo_backup.check import PART
from postdo_backup.errors import BackupFailed

OWNER_ONLY = 0o700  # it holds personal data, and .env


@contextmanager
def unfinished(final: Path) -> Iterator[Path]:
    """Yield a new empty folder; it gets the name ``final`` if the block ends without an exception.

    It is locked meanwhile, so that another backup does not take it for what a killed one left,
    which is removed first. Everything is on the disk before it is renamed. Raises ``BackupFailed``
    if there is a set of that name, finished or in the making.
    """
    sweep(final.parent)
    part = final.with_name(final.name + PART)
    if final.exists():
        raise BackupFailed(f"{final.name} exists", "run the command again")
    try:
        part.mkdir(mode=OWNER_ONLY)
    except FileExistsError as error:
        raise BackupFailed("another backup is being made", "wait until it has ended") from error
    lock = os.open(part, os.O_RDONLY)
    try:
        try_lock(lock)
        yield part
        _close_to_others(part)
        _sync(*part.iterdir(), part)
        part.rename(final)
        _sync(final.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    finally:
        os.close(lock)


def sweep(root: Path) -> None:
    """Remove unfinished sets that no process is working on."""
    for path in root.glob(f"*{PART}"):
        if path.is_symlink() or not path.is_dir():
            continue
        with suppress(OSError):  # another one has removed it, or it is not ours
            lock = os.open(path, os.O_RDONLY)
            try:
                if try_lock(lock):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def remove(folder: Path) -> None:
    """Delete a set. It is renamed first, so that half of one never looks whole."""
    part = folder.with_name(folder.name + PART)
    folder.rename(part)
    shutil.rmtree(part)


def _close_to_others(part: Path) -> None:
    """Each file by itself: it may be copied out of the folder, whose mode is only its own.

    Root in a container writes for whoever owns the folder of the backups.
    """
    for path in part.iterdir():
        path.chmod(output.OWNER_ONLY)
    owner = part.parent.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        for path in (*part.iterdir(), part):
            os.chown(path, owner.st_uid, owner.st_gid)


def _sync(*paths: Path) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
