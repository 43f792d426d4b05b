"""The folder in which backups are kept: which are finished, which are not, how many stay."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from postdo.errors import Refused

KIND = "before-migrate"
PART = ".part"
OWNER_ONLY = 0o700  # it holds personal data


@dataclass(frozen=True)
class Part:
    """A backup that is being made, in the folder ``path``."""

    path: Path

    def finish(self) -> Path:
        """Give it its final name. The finished backup."""
        final = self.path.with_suffix("")
        self.path.rename(final)
        _sync(final.parent)
        return final


@dataclass(frozen=True)
class BackupFolder:
    """The backups of one database before its migrations. ``keep``: how many finished ones."""

    root: Path
    database: str
    keep: int

    def free_bytes(self) -> int:
        """Free disk space, once what killed runs have left is removed. Raises ``Refused``."""
        with self._or_refused():
            self._ready()
            return shutil.disk_usage(self.root).free

    @contextmanager
    def unfinished(self) -> Iterator[Part]:
        """A new empty folder for a backup, removed at the end unless it was finished.

        Locked while it is in use, so that another process leaves it alone. Raises ``Refused`` if
        it cannot be made.
        """
        with self._or_refused():
            self._ready()
            path = self._new()
            lock = os.open(path, os.O_RDONLY)
        try:
            _try_lock(lock)
            yield Part(path)
        finally:
            os.close(lock)
            shutil.rmtree(path, ignore_errors=True)

    def prune(self) -> None:
        """Remove the finished backups that are more than ``keep``, the oldest first."""
        series = re.escape(f"{_file_name(self.database)}-{KIND}-")
        names = re.compile(series + r"\d{8}T\d{6}Z(-\d+)?")
        finished = [path for path in self.root.iterdir() if names.fullmatch(path.name)]
        for path in sorted(finished, key=lambda path: _order(path.name))[: -self.keep]:
            remove(path)

    def _ready(self) -> None:
        self.root.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        for path in self.root.glob(f"{_file_name(self.database)}-{KIND}-*{PART}"):
            lock = os.open(path, os.O_RDONLY)
            try:
                if _try_lock(lock):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)

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
                "correct the folder POSTDO_BACKUPS, its permissions or its disk",
            ) from error


def remove(backup: Path) -> None:
    """Take a finished backup away; half of one never has a finished one's name."""
    with suppress(OSError):
        unfinished = backup.with_name(backup.name + PART)
        backup.rename(unfinished)
        shutil.rmtree(unfinished, ignore_errors=True)


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


def _try_lock(descriptor: int) -> bool:
    """Whether nobody else has it. Network file systems may know no such lock: nobody, then."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _sync(folder: Path) -> None:
    """Have the new name survive a power failure, as pg_dump has the content."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
