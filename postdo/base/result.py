"""The result file: what a run came to, as facts for the program that started it.

A shell reads facts and never sentences, so that no message has to keep its words. One ``KEY=VALUE``
a line, a key again for each value of a list; a value is one line without control characters. What
each key means: docs/result-file.md.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from postdo.base.formatting import line

READABLE = 0o644  # a container often runs as another user than the one who reads


class Facts:
    """Facts (key and value) in the order in which they were added.

    A key may have several values.
    """

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []

    def add(self, key: str, *values: object) -> None:
        """Add one value, or several, under a key."""
        self._found += [(key, line(str(value))) for value in values]

    def write(self, path: Path, ending: Sequence[tuple[str, object]] = ()) -> None:
        """Write all facts, and ``ending`` after them, as ``key=value`` lines.

        The file is replaced at once, so that a reader never sees half of it. Raises ``OSError``.
        """
        pairs = [*self._found, *((key, line(str(value))) for key, value in ending)]
        part = path.with_name(f"{path.name}.part")
        part.write_text("".join(f"{key}={value}\n" for key, value in pairs), encoding="utf-8")
        part.chmod(READABLE)
        os.replace(part, path)  # noqa: PTH105  the same, and said to be atomic
