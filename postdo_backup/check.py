"""Whether a set is what its manifest says: every file there, whole, and unchanged.

That is about files. Whether the database in it restores is found out by restoring it.
"""

from __future__ import annotations

from pathlib import Path

from postdo_backup.errors import Damaged
from postdo_backup.manifest import ANOTHER, MANIFEST, SUMS, VERIFIED, Manifest, file_of, read
from postdo_backup.manifest import read_sums as sums_of

PART = ".part"


def check(folder: Path) -> Manifest:
    """Read every file of a set. Raises ``Damaged``, which names the first thing that is wrong."""
    if folder.name.endswith(PART):
        raise Damaged(f"{folder.name} is unfinished", "use another set; the next backup removes it")
    if not folder.is_dir():
        raise Damaged(f"there is no set {folder.name}", "list the sets: sh run.sh backups")
    sums = sums_of(folder)
    if MANIFEST not in sums:
        raise Damaged(f"{SUMS} was changed", ANOTHER)
    if not (folder / MANIFEST).is_file():
        raise Damaged(f"{MANIFEST} is missing", ANOTHER)
    if file_of(folder / MANIFEST).sha256 != sums[MANIFEST]:
        raise Damaged(f"{MANIFEST} or {SUMS} was changed", ANOTHER)
    manifest = read(folder)
    _check_names(folder, manifest, set(sums))
    for file in manifest.files:
        path = folder / file.name
        if (size := path.stat().st_size) != file.bytes:
            raise Damaged(f"{file.name} has {size} bytes, not {file.bytes}", ANOTHER)
        if not file_of(path).sha256 == file.sha256 == sums[file.name]:
            raise Damaged(f"{file.name} was changed", ANOTHER)
    return manifest


def _check_names(folder: Path, manifest: Manifest, summed: set[str]) -> None:
    named = set(manifest.names)
    if summed != {*named, MANIFEST} or len(named) != len(manifest.files):
        raise Damaged(f"{MANIFEST} and {SUMS} are not of the same set", ANOTHER)
    present = {path.name for path in folder.iterdir()}
    if missing := sorted(name for name in named if not (folder / name).is_file()):
        raise Damaged(f"{missing[0]} is missing", ANOTHER)
    if extra := sorted(present - named - {MANIFEST, SUMS, VERIFIED, VERIFIED + PART}):
        raise Damaged(f"{extra[0]} does not belong to the set", "remove it, or use another set")
    if {"database.dump", "database.dump.age"}.isdisjoint(named):
        raise Damaged("the set has no database.dump", ANOTHER)
