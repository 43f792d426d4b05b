"""Sets of backups whose database is noise: for what only moves sets."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from postdo_backup.digests import Content
from postdo_backup.manifest import Manifest, file_of, write


def make_set(
    backups: Path,
    name: str,
    *,
    megabytes: float = 0.1,
    mode: str = "prod",
    project: str = "shop",
    why: str = "command",
) -> Path:
    """A set whose database is noise."""
    folder = backups / name
    folder.mkdir(parents=True)
    (folder / "database.dump").write_bytes(os.urandom(int(megabytes * 1024**2)))
    (folder / "env").write_text("SECRET_KEY=abc\n")
    files = tuple(file_of(path) for path in sorted(folder.iterdir()))
    stamp = datetime.strptime(name.removesuffix(".part")[-16:], "%Y%m%dT%H%M%SZ")
    manifest = Manifest(
        kit="0",
        project=project,
        mode=mode,
        made_at=f"{stamp:%Y-%m-%dT%H:%M:%SZ}",
        why=why,
        postgresql={"major": 18},
        release={},
        database="shop",
        content=Content((), ()),
        files=files,
    )
    write(folder, manifest)
    return folder
