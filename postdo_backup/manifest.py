"""The manifest of a set, and the checksums beside it.

``manifest.json`` says what the set has and what the database contained. ``SHA256SUMS`` has a line
for every file, the manifest among them, so that `sha256sum -c SHA256SUMS` checks a set by hand.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from postdo_backup.digests import Content, NextValue, Table
from postdo_backup.errors import Damaged

FORMAT = 1
MANIFEST, SUMS, VERIFIED = "manifest.json", "SHA256SUMS", "verified.json"
BLOCK = 1024 * 1024  # read at a time
ANOTHER = "use another set, or copy this one again from where it was made"
_SUM = re.compile(r"([0-9a-f]{64}) [ *]([^/\0]+)")


@dataclass(frozen=True)
class File:
    """One file of a set: its size in bytes, and its SHA-256 in hexadecimal digits."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a set is.

    - ``why``: what took it, such as ``command`` or ``release 12``. ``made_at``: ISO 8601, UTC.
    - ``postgresql``: version, major, image, image_id, encoding, locale. ``release``: number,
      revision, image_id; nothing that is unknown.
    - ``encrypted``: the age recipient that can read the files, or ``None``.
    - ``bucket``: where the site kept its uploads, none of which are in the set; ``None`` for the
      volume, and in sets of older kits.
    """

    kit: str
    project: str
    mode: str
    made_at: str
    why: str
    postgresql: Mapping[str, Any]
    release: Mapping[str, Any]
    database: str
    content: Content
    files: tuple[File, ...]
    encrypted: str | None = None
    bucket: str | None = None

    def text(self) -> str:
        """The manifest as it is written."""
        found = asdict(self)
        content = found.pop("content")
        return json.dumps({"format": FORMAT, **found, **content}, indent=1, sort_keys=True) + "\n"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its files."""
        return tuple(file.name for file in self.files)


def write(folder: Path, manifest: Manifest) -> None:
    """Write manifest and checksums of a folder whose files are complete."""
    path = folder / MANIFEST
    path.write_text(manifest.text(), encoding="utf-8")
    files = (*manifest.files, file_of(path))
    sums = "".join(f"{file.sha256}  {file.name}\n" for file in sorted(files, key=lambda f: f.name))
    (folder / SUMS).write_text(sums, encoding="utf-8")


def read(folder: Path) -> Manifest:
    """The manifest of a set; its files are not looked at. Raises ``Damaged``."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Damaged(f"{folder.name} has no {MANIFEST}", ANOTHER) from error
    except (OSError, ValueError) as error:
        raise Damaged(f"{MANIFEST} cannot be read", ANOTHER) from error
    version = found.get("format") if isinstance(found, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise Damaged(
            f"{folder.name} was written by a newer kit (format {version}; this one knows {FORMAT})",
            "update the kit: git pull",
        )
    try:
        return _manifest(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"{MANIFEST} is incomplete", ANOTHER) from error


def read_sums(folder: Path) -> dict[str, str]:
    """SHA-256 per name, as ``SHA256SUMS`` has them. Raises ``Damaged``."""
    try:
        *lines, end = (folder / SUMS).read_bytes().decode().split("\n")
    except FileNotFoundError as error:
        raise Damaged(f"{folder.name} has no {SUMS}", ANOTHER) from error
    except (OSError, ValueError) as error:
        raise Damaged(f"{SUMS} cannot be read", ANOTHER) from error
    found: dict[str, str] = {}
    if end:  # what was cut off has no end of its last line
        raise Damaged(f"{SUMS} was changed", ANOTHER)
    for line in lines:
        match = _SUM.fullmatch(line)
        if match is None or match[2] in found:
            raise Damaged(f"{SUMS} was changed", ANOTHER)
        found[match[2]] = match[1]
    return found


def file_of(path: Path) -> File:
    """Name, size and SHA-256 of a file, which is read to its end."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            size += len(block)
    return File(path.name, size, digest.hexdigest())


def _manifest(found: Mapping[str, Any]) -> Manifest:
    own = ("kit", "project", "mode", "made_at", "why", "postgresql", "release", "database")
    return Manifest(
        **{key: found[key] for key in own},
        content=Content(
            tuple(Table(**table) for table in found["tables"]),
            tuple(NextValue(**each) for each in found["sequences"]),
        ),
        files=tuple(File(**file) for file in found["files"]),
        encrypted=found["encrypted"],
        bucket=found.get("bucket"),
    )
