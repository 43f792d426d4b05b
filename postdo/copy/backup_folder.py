"""The folder in which backups are kept: which are finished, which are not, how many stay."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from postdo.base.errors import Refused
from postdo.base.file_lock import try_lock

KIND = "before-migrate"
PART = ".part"
OWNER_ONLY = 0o700  # it holds personal data


@dataclass
class Part:
    """A backup in the making, in the folder ``path``.

    ``whole``: whether a restore has proved it.
    """

    path: Path
    whole: bool = False

    def prove(self) -> Path:
        """Keep it when the block of ``unfinished`` ends.

        Returns the path that it will then have.
        """
        self.whole = True
        return self.path.with_suffix("")


@dataclass(frozen=True)
class BackupFolder:
    """The backups of one database. ``keep``: how many finished ones stay."""

    root: Path
    database: str
    keep: int

    def free_bytes(self) -> int:
        """Free disk space in bytes, after what killed runs left is removed. Raises ``Refused``."""
        with self._or_refused():
            self._ready()
            return shutil.disk_usage(self.root).free

    @contextmanager
    def unfinished(self) -> Iterator[Part]:
        """Yield a new empty folder for a backup; it is removed at the end unless it was proved.

        It is locked while in use, so that another process does not sweep it. Raises ``Refused`` if
        it cannot be made.
        """
        with self._or_refused():
            self._ready()
            part = Part(self._new())
            lock = os.open(part.path, os.O_RDONLY)
        try:
            try_lock(lock)
            yield part
        finally:
            os.close(lock)
            if not part.whole:
                shutil.rmtree(part.path, ignore_errors=True)

    def sweep(self) -> None:
        """Remove unfinished backups that no process is working on."""
        for path in self.root.glob(f"{_file_name(self.database)}-{KIND}-*{PART}"):
            lock = os.open(path, os.O_RDONLY)
            try:
                if try_lock(lock):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)

    def prune(self) -> None:
        """Remove the oldest finished backups beyond ``keep``."""
        series = re.escape(f"{_file_name(self.database)}-{KIND}-")
        names = re.compile(series + r"\d{8}T\d{6}Z(-\d+)?")
        finished = [path for path in self.root.iterdir() if names.fullmatch(path.name)]
        for path in sorted(finished, key=lambda path: _order(path.name))[: -self.keep]:
            remove(path)

    def _ready(self) -> None:
        self.root.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        self.sweep()

    def _new(self) -> Path:
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        name = f"{_file_name(self.database)}-{KIND}-{stamp}"
        for number in range(1, 100):  # several in one second
            unique = f"{name}-{number}" if number > 1 else name
            path = self.root / (unique + PART)
            if not (self.root / unique).exists():
                with suppress(FileExistsError):
                    path.mkdir(mode=OWNER_ONLY)
                    return path
        raise FileExistsError(17, "too many backups in one second", name)

    @contextmanager
    def _or_refused(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Refused(
                f"no backup can be written in {self.root}: {error.strerror or error}",
                "make that folder writable, or free some disk space there (POSTDO_BACKUPS; with "
                "the kit it is backups/)",
            ) from error


def finish(backup: Path) -> None:
    """Rename a proved backup to its final name; from now on it counts. Raises ``Refused``."""
    try:
        _unfinished(backup).rename(backup)
    except OSError as error:
        raise Refused(
            f"the backup {backup} cannot be completed: {error.strerror or error}",
            "make that folder writable, or free some disk space there (POSTDO_BACKUPS; with the "
            "kit it is backups/)",
        ) from error
    _sync(backup.parent)


def remove(backup: Path) -> None:
    """Delete a backup, finished or not.

    It is renamed first, so half of one never looks finished.
    """
    with suppress(OSError):
        backup.rename(_unfinished(backup))
    shutil.rmtree(_unfinished(backup), ignore_errors=True)


def _unfinished(backup: Path) -> Path:
    return backup.with_name(backup.name + PART)


def _file_name(database: str) -> str:
    """The database's name as a part of a file's; told apart by a hash where they differ."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", database)
    if plain == database:
        return plain
    return f"{plain}_{hashlib.sha256(database.encode()).hexdigest()[:6]}"


def _series(name: str) -> str:
    return name[: name.rindex(f"-{KIND}-") + len(KIND) + 2]


def _order(name: str) -> tuple[str, int]:
    """When it was made, and which of the same second it is."""
    stamp, _, number = name.removeprefix(_series(name)).partition("-")
    return stamp, int(number or 1)


def _sync(folder: Path) -> None:
    """Have the new name survive a power failure, as pg_dump has the content."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
