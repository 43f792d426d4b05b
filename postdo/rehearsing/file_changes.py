"""What a migration would change of the files, in words, and what of it an approval approves. Pure.

A name can be made by chance (a storage gives one that is free, many take a UUID), so that an
approval is for what is done to how many files in which folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath

from postdo.words import listed, number

PREFIX = "files in "
_SAID = re.compile(rf"{PREFIX}(?P<folder>.*?): (?P<count>[\d,]+) (?P<verb>\w+) \(")


class FileChanges:
    """Collects changes, each once. ``root``: folders below it are named without it."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._found: dict[tuple[str, str], dict[str, None]] = {}

    def note(self, verb: str, path: str, to: str = "") -> None:
        """``verb``: as in "3 removed"; ``to``: the new path of a file that is moved or linked."""
        folder, name = PurePath(path).parent, PurePath(path).name
        if to:
            near = PurePath(to).parent == folder
            name += f" to {PurePath(to).name if near else self._short(PurePath(to))}"
        self._found.setdefault((self._short(folder), verb), {})[name] = None

    @property
    def lines(self) -> tuple[str, ...]:
        """``files in media/up: 2 removed (a.txt, b.txt)``, for ``Rehearsal.outside``."""
        return tuple(
            f"{PREFIX}{folder}: {number(len(names))} {verb} ({listed(tuple(names))})"
            for (folder, verb), names in self._found.items()
        )

    def _short(self, path: PurePath) -> str:
        return str(path.relative_to(self._root) if path.is_relative_to(self._root) else path)


def of_files(outside: Iterable[str]) -> tuple[str, ...]:
    """Those lines of ``Rehearsal.outside`` that are about files."""
    return tuple(line for line in outside if line.startswith(PREFIX))


def approved(outside: Iterable[str]) -> list[list[str]]:
    """What an approval approves of them: folder, what is done there, and how many digits."""
    found = map(_SAID.match, of_files(outside))
    return sorted([m["folder"], m["verb"], str(len(m["count"]))] for m in found if m)
