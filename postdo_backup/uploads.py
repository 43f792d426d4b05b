"""Put the uploads of a set back. What is newer stays; a file of the same name is replaced."""

from __future__ import annotations

import tarfile
from pathlib import Path, PurePosixPath

from postdo_backup.create import UPLOADS
from postdo_backup.errors import BackupFailed, Damaged
from postdo_backup.manifest import ANOTHER
from postdo_backup.source import Source

PART = ".postdo-part"  # in the folder of the file that is being written


def restore_uploads(source: Source, folder: Path) -> int:
    """How many files were put back, each with its owner. Raises ``BackupFailed``."""
    if not source.has(UPLOADS):
        return 0
    count = 0
    try:
        with source.opened(UPLOADS) as file, tarfile.open(fileobj=file, mode="r|") as tar:
            for member in tar:
                kept = _harmless(member, str(folder))
                if kept.isfile():
                    _put_back(tar, kept, folder)
                    count += 1
                else:
                    tar.extract(kept, folder, numeric_owner=True, filter="fully_trusted")
    except OSError as error:
        raise BackupFailed(
            f"only {count} of its uploads could be put back: {error.strerror or error}",
            "free some disk space there, then run the command again",
        ) from error
    except tarfile.TarError as error:
        raise Damaged(f"{UPLOADS} in {source.name} cannot be used: {error}", ANOTHER) from error
    return count


def _put_back(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """One file, whole or not at all: the one in its place is the site's, which serves meanwhile."""
    part = str(PurePosixPath(member.name).parent / PART)
    written = folder / part
    try:
        named = member.replace(name=part, deep=False)
        tar.extract(named, folder, numeric_owner=True, filter="fully_trusted")
        written.replace(folder / member.name)
    except BaseException:
        written.unlink(missing_ok=True)
        raise


def _harmless(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """No device, and nothing that leads out of the folder: the proxy would follow it."""
    inside = member.issym() and member.linkname.startswith(f"{folder}/")
    if not inside or ".." in member.linkname:
        tarfile.data_filter(member, folder)
    return tarfile.tar_filter(member, folder)
