"""The files of a set, written plainly or through age."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from postdo_backup.errors import BackupFailed
from postdo_backup.programs import running

AGE = ".age"
OWNER_ONLY = 0o600
# Where lib/age.sh puts the program; it is mounted into the container.
FOLDER = Path("/opt/age")


@dataclass(frozen=True)
class Output:
    """Files in ``folder``, readable for the owner of ``recipient`` alone if there is one."""

    folder: Path
    recipient: str | None = None

    @contextmanager
    def file(self, name: str) -> Iterator[IO[bytes]]:
        """A new file to write to. With a recipient it is encrypted, and its name ends in .age."""
        path = self.folder / (name if self.recipient is None else name + AGE)
        with path.open("xb") as file:
            path.chmod(OWNER_ONLY)
            if self.recipient is None:
                yield file
                return
            command = [age("age"), "--encrypt", "--recipient", self.recipient]
            with running(command, source=subprocess.PIPE, output=file) as process:
                assert process.stdin is not None  # noqa: S101  it was asked for
                yield process.stdin


def age(name: str) -> str:
    """The path of age or age-keygen. Raises ``BackupFailed``."""
    places = os.pathsep.join((str(FOLDER), os.environ.get("PATH", "")))
    if found := shutil.which(name, path=places):
        return found
    raise BackupFailed(f"there is no program {name}", "install age (the package's name in Debian)")
