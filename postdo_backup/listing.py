"""What is in the folder of the backups: sets, what releases keep, and files of older kits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from postdo.base.formatting import duration, line, size
from postdo_backup import archives, folder
from postdo_backup.check import PART
from postdo_backup.errors import Damaged
from postdo_backup.manifest import MANIFEST, read
from postdo_backup.retention import Candidate, Rules, removable
from postdo_backup.verified import verification

SET, RELEASE, FILE = "set", "release", "file"
HOUR, DAY = 3600, 86_400
TIME = "%Y-%m-%dT%H:%M:%SZ"
# A release's backup, in which pg_dump -Fd leaves its table of contents, and files of an older kit.
TOC, FILES = "toc.dat", ("*.dump", "*-uploads.tar")
STAMP = re.compile(r"\d{8}T\d{6}Z")


@dataclass(frozen=True)
class Entry:
    """One backup. What is not known is ``None``, or empty.

    - ``kind``: ``set``, ``release`` (the folder that a release keeps: the database alone, restored
      once in its rehearsal) or ``file`` (of a kit that wrote no sets).
    - ``verified_at``: when it was restored and used; ``recovery_seconds``: what that took.
    - ``elsewhere``: other places that have it. ``damaged``: why it is no backup.
    - ``bucket``: where the uploads are, which the set does not have.
    """

    name: str
    kind: str
    made_at: str
    bytes: int
    project: str = ""
    mode: str = ""
    why: str = ""
    encrypted: bool = False
    verified_at: str | None = None
    recovery_seconds: int | None = None
    elsewhere: tuple[str, ...] = field(default=())
    damaged: str | None = None
    bucket: str | None = None


def entries(root: Path, elsewhere: dict[str, list[str]] | None = None) -> list[Entry]:
    """Every backup in a folder, the newest first. ``elsewhere``: other places by name of a set."""
    places = elsewhere or {}
    found = [_set(path.parent, places) for path in root.glob(f"*/{MANIFEST}")]
    found += [
        Entry(path.parent.name, RELEASE, _written(path), archives.size(path.parent))
        for path in root.glob(f"*/{TOC}")
    ]
    found += [
        Entry(path.name, FILE, _written(path), path.stat().st_size)
        for pattern in FILES
        for path in root.glob(pattern)
    ]
    whole = [entry for entry in found if not entry.name.endswith(PART)]
    return sorted(whole, key=lambda entry: (entry.made_at, entry.name), reverse=True)


def prune(root: Path, project: str, mode: str, rules: Rules, now: datetime) -> tuple[str, ...]:
    """Remove the sets that the rules no longer keep; their names. Raises ``OSError``.

    Sets of other sites, and what cannot be read, are left alone.
    """
    candidates = [
        Candidate(
            entry.name,
            datetime.strptime(entry.made_at, TIME).replace(tzinfo=timezone.utc),
            entry.why,
            entry.verified_at is not None,
        )
        for entry in entries(root)
        if (entry.kind, entry.project, entry.mode) == (SET, project, mode) and not entry.damaged
    ]
    gone = removable(candidates, rules, now)
    for name in gone:
        folder.remove(root / name)
    return gone


def as_json(found: Iterable[Entry]) -> str:
    """A list of objects with the fields of ``Entry``."""
    return json.dumps({"backups": [asdict(entry) for entry in found]}, indent=2) + "\n"


def as_text(found: Sequence[Entry], now: datetime) -> str:
    """A table for people."""
    if not found:
        return "there are no backups in backups/\n"
    table = [("BACKUP", "AGE", "SIZE", "VERIFIED", "RECOVERY", "ALSO AT", "")]
    table += [
        (
            entry.name,
            _age(entry.made_at, now),
            size(entry.bytes),
            _verified(entry, now),
            "-" if entry.recovery_seconds is None else duration(entry.recovery_seconds),
            ", ".join(entry.elsewhere) or "-",
            _remarks(entry),
        )
        for entry in found
    ]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    rows = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in table
    )
    return "".join(f"{row.rstrip()}\n" for row in rows)


def _set(path: Path, places: dict[str, list[str]]) -> Entry:
    try:
        manifest = read(path)
        datetime.strptime(manifest.made_at, TIME)
    except (Damaged, ValueError) as error:
        why = error.what if isinstance(error, Damaged) else f"{MANIFEST} is incomplete"
        return Entry(path.name, SET, _stamp(path), archives.size(path), damaged=why)
    known = verification(path)
    return Entry(
        path.name,
        SET,
        manifest.made_at,
        sum(file.bytes for file in manifest.files),
        manifest.project,
        manifest.mode,
        manifest.why,
        manifest.encrypted is not None,
        known.verified_at if known else None,
        known.seconds if known else None,
        tuple(places.get(path.name, ())),
        bucket=manifest.bucket,
    )


def _stamp(path: Path) -> str:
    """When a set was made, by its name; else by its file."""
    if found := STAMP.search(path.name):
        at = datetime.strptime(found[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
        return at.strftime(TIME)
    return _written(path / MANIFEST)


def _written(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, timezone.utc).strftime(TIME)


def _age(made_at: str, now: datetime) -> str:
    at = datetime.strptime(made_at, TIME).replace(tzinfo=timezone.utc)
    seconds = max(0, (now - at).total_seconds())
    if seconds < HOUR:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / HOUR:.0f} h" if seconds < 2 * DAY else f"{seconds / DAY:.0f} days"


def _verified(entry: Entry, now: datetime) -> str:
    if entry.damaged:
        return "damaged"
    if entry.kind == RELEASE:
        return "in its rehearsal"
    return f"{_age(entry.verified_at, now)} ago" if entry.verified_at else "no"


def _remarks(entry: Entry) -> str:
    why = "" if entry.why in ("", "schedule", "command") else line(entry.why)
    bucket = "without the uploads in the bucket" if entry.bucket else ""
    known = (entry.damaged, why, "encrypted" if entry.encrypted else "", bucket)
    return ", ".join(filter(None, known))
