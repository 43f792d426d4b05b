"""Put the uploads of a set back. What is newer stays; a file of the same name is replaced."""

from __future__ import annotations

import tarfile
from pathlib import Path

from postdo_backup.create import UPLOADS
from postdo_backup.errors import Damaged
from postdo_backup.manifest import ANOTHER
from postdo_backup.source import Source


def restore_uploads(source: Source, folder: Path) -> int:
    """How many files were put back, each with its owner. Raises ``Damaged``."""
    if not source.has(UPLOADS):
        return 0
    count = 0
    try:
        with source.opened(UPLOADS) as file, tarfile.open(fileobj=file, mode="r|") as tar:
            for member in tar:
                kept = _harmless(member, str(folder))
                tar.extract(kept, folder, numeric_owner=True, filter="fully_trusted")
                count += kept.isfile()
    except tarfile.TarError as error:
        raise Damaged(f"{UPLOADS} in {source.name} cannot be used: {error}", ANOTHER) from error
    return count


def _harmless(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """No device, and nothing that leads out of the folder: the proxy would follow it."""
    inside = member.issym() and member.linkname.startswith(f"{folder}/")
    if not inside or ".." in member.linkname:
        tarfile.data_filter(member, folder)
    return tarfile.tar_filter(member, folder)
