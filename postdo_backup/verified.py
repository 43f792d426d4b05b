"""What is kept of a verification: verified.json in the set, about exactly that manifest."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from postdo_backup.check import PART
from postdo_backup.manifest import MANIFEST, VERIFIED, file_of


@dataclass(frozen=True)
class Verification:
    """A set was restored, compared, and the site started on it.

    ``verified_at``: ISO 8601, UTC. ``seconds``: from an empty server to pages that answer.
    ``manifest_sha256``: of the manifest that it is about. ``site``: ``release``, or ``live`` where
    the image of its release was gone. ``image_id``: of what started.
    """

    verified_at: str
    seconds: int
    manifest_sha256: str
    site: str
    image_id: str


def record(folder: Path, seconds: int, site: str, image_id: str) -> Verification:
    """Write down that a set was verified just now."""
    found = Verification(
        f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
        seconds,
        file_of(folder / MANIFEST).sha256,
        site,
        image_id,
    )
    part = folder / (VERIFIED + PART)  # whole or not at all
    with part.open("w", encoding="utf-8") as file:
        file.write(json.dumps(asdict(found), indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    owner = folder.stat()
    if os.geteuid() == 0:
        os.chown(part, owner.st_uid, owner.st_gid)
    part.chmod(0o600)
    part.replace(folder / VERIFIED)
    return found


def verification(folder: Path) -> Verification | None:
    """What is known of a set; ``None`` if it was never verified, or was another one then."""
    try:
        found = Verification(**json.loads((folder / VERIFIED).read_text(encoding="utf-8")))
        same = found.manifest_sha256 == file_of(folder / MANIFEST).sha256
    except (OSError, ValueError, TypeError):
        return None
    return found if same else None
