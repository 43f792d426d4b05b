"""Folders as tar archives, while somebody writes into them."""

from __future__ import annotations

import errno
import gzip
import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

# At the top of a clone: what is in the set as a file of its own, what is made again, what is data.
NOT_THE_SITE = {
    *(".postdo", "backups", ".env", "docker-compose.override.yml"),
    *("web/media", "web/media-private", "web/staticfiles", "web/.mail"),
}
CACHES = {
    *(".git", "__pycache__", "node_modules", ".venv", "venv"),
    *(".mypy_cache", ".pytest_cache", ".ruff_cache"),
}


def has_files(folder: Path) -> bool:
    """Whether there is any file below it."""
    return any(files for _, _, files in os.walk(folder, onerror=_unless_gone))


def size(folder: Path) -> int:
    """The bytes of all files below a folder; 0 if there is none."""
    found = 0
    for path in _below(folder):
        with suppress(FileNotFoundError):
            status = path.lstat()
            found += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return found


def write_uploads(folder: Path, output: IO[bytes]) -> None:
    """Everything below a folder, with owners; names begin with ``./``, as tar's own."""
    with tarfile.open(fileobj=output, mode="w|") as tar:
        _add(tar, folder, ".")
        for path in _below(folder):
            _add(tar, path, f"./{path.relative_to(folder)}")


def write_site(folder: Path, output: IO[bytes]) -> None:
    """A clone as it is on the disk, compressed: the kit and web/."""
    with (
        gzip.GzipFile(
            filename="", mode="wb", compresslevel=6, fileobj=output, mtime=0
        ) as compressed,
        tarfile.open(fileobj=compressed, mode="w|") as tar,
    ):
        for path in _below(folder, site=True):
            _add(tar, path, str(path.relative_to(folder)))


def _below(folder: Path, *, site: bool = False) -> Iterator[Path]:
    for at, folders, files in os.walk(folder, onerror=_unless_gone):
        here = Path(at)
        for name in sorted((*folders, *files)):
            path = here / name
            if site and _left_out(path.relative_to(folder)):
                continue
            yield path
        folders[:] = sorted(
            name for name in folders if not (site and _left_out((here / name).relative_to(folder)))
        )


def _unless_gone(error: OSError) -> None:
    """A folder that cannot be read is not an empty one."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _left_out(path: Path) -> bool:
    return path.as_posix() in NOT_THE_SITE or path.name in CACHES or path.suffix in (".pyc", ".pyo")


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    """Add one file, folder or link. One that is gone by now is left out."""
    try:
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            with open(path, "rb", opener=_opened) as file:
                _add_file(tar, file, name)
        elif stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode):
            tar.addfile(_nameless(tar.gettarinfo(path, name)))
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ELOOP:  # a link by now: of the next backup
            raise


def _opened(path: str, flags: int) -> int:
    """Open no link that took the file's place meanwhile: .env is beside the uploads, for us."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _add_file(tar: tarfile.TarFile, file: IO[bytes], name: str) -> None:
    """With the size that it has now: what is appended meanwhile is of the next backup."""
    entry = _nameless(tar.gettarinfo(arcname=name, fileobj=file))
    entry.type, entry.linkname = tarfile.REGTYPE, ""  # a second name of a file is a file of its own
    entry.size = os.fstat(file.fileno()).st_size
    tar.addfile(entry, _Padded(file, entry.size))


def _nameless(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Owners are numbers: a user of that name can be another one where it is restored."""
    entry.uname = entry.gname = ""
    return entry


class _Padded:
    """Reads a file as if it kept its size: zeros for what was cut off meanwhile."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, count: int = -1, /) -> bytes:
        wanted = min(count, self._left) if count >= 0 else self._left
        block = self._file.read(wanted)
        missing = wanted - len(block)
        self._left -= wanted
        return block + b"\0" * missing
