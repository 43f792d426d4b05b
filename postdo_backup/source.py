"""The files of a set, read plainly or through age."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from postdo_backup.errors import BackupFailed, Damaged
from postdo_backup.manifest import ANOTHER, Manifest
from postdo_backup.output import AGE, age
from postdo_backup.programs import running

OTHER_KEY = "use the key that belongs to it, from where you keep it"


@dataclass(frozen=True)
class Source:
    """A set whose files were checked. ``identity``: the file with age's key, if there is one."""

    folder: Path
    manifest: Manifest
    identity: Path | None = None

    @property
    def name(self) -> str:
        """Its name, for people."""
        return self.folder.name

    def has(self, name: str) -> bool:
        """Whether the set has that file, encrypted or not."""
        return not {name, name + AGE}.isdisjoint(self.manifest.names)

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        """The contents of a file. Raises ``Damaged`` if it is missing."""
        if not self.has(name):
            raise Damaged(f"{self.name} has no {name}", ANOTHER)
        if self.manifest.encrypted is None:
            with (self.folder / name).open("rb") as file:
                yield file
            return
        with (
            (self.folder / (name + AGE)).open("rb") as file,
            running(self._decrypt(), source=file, output=subprocess.PIPE) as process,
        ):
            assert process.stdout is not None  # noqa: S101  it was asked for
            yield process.stdout
            process.stdout.close()

    def require_key(self) -> None:
        """Refuse a set for another key: what reads a file later would only see that it is empty."""
        if self.manifest.encrypted is None:
            return
        command = self._decrypt()
        smallest = min(self.manifest.files, key=lambda file: file.bytes)
        try:
            with (self.folder / smallest.name).open("rb") as file, running(command, source=file):
                pass
        except BackupFailed as error:
            raise BackupFailed(
                f"it is encrypted for {self.manifest.encrypted}, and that is not the key here",
                OTHER_KEY,
            ) from error

    def _decrypt(self) -> list[str]:
        if self.identity is None or not self.identity.is_file():
            raise BackupFailed(
                "it is encrypted, and there is no key here",
                OTHER_KEY,
            )
        return [age("age"), "--decrypt", "--identity", str(self.identity)]
