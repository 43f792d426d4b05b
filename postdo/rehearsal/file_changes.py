"""What a migration would change of the files, in words, and what of it an approval approves. Pure.

A name can be made by chance (a storage gives one that is free, many take a UUID), so that an
approval is for what is done to how many files in which folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

from postdo.base.formatting import listed, number


@dataclass(frozen=True)
class FileChange:
    """What is done to files in one folder. ``verb``: as in "3 removed"; ``names``: of the files."""

    folder: str
    verb: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        """``files in media/up: 2 removed (a.txt, b.txt)``."""
        return (
            f"files in {self.folder}: {number(len(self.names))} {self.verb} ({listed(self.names)})"
        )


class FileChanges:
    """Collects changes of files, each once. ``root``: folders below it are named without it."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._found: dict[tuple[str, str], dict[str, None]] = {}

    def note(self, verb: str, path: str, to: str = "") -> None:
        """Add a change.

        ``verb``: as in "3 removed"; ``to``: the new path of a file that is moved.
        """
        folder, name = PurePath(path).parent, PurePath(path).name
        if to:
            near = PurePath(to).parent == folder
            name += f" to {PurePath(to).name if near else self._short(PurePath(to))}"
        self._found.setdefault((self._short(folder), verb), {})[name] = None

    @property
    def found(self) -> tuple[FileChange, ...]:
        """All changes, in the order in which the first of each folder came."""
        return tuple(
            FileChange(folder, verb, tuple(names)) for (folder, verb), names in self._found.items()
        )

    def _short(self, path: PurePath) -> str:
        return str(path.relative_to(self._root) if path.is_relative_to(self._root) else path)


def approved(changes: Iterable[FileChange]) -> list[list[str]]:
    """What an approval covers: the folder, what is done there, and how many files, by their digits.

    So a few files more need no other approval, but ten times as many do.
    """
    return sorted([one.folder, one.verb, str(len(number(len(one.names))))] for one in changes)
