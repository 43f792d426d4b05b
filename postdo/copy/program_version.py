"""Where PostgreSQL's programs are, and of which major one is. Nothing of Django is loaded."""

from __future__ import annotations

import re
import subprocess
from functools import lru_cache
from pathlib import Path

VERSION_SECONDS = 10.0  # --version takes milliseconds, and seconds on a disk that sleeps
# Where the programs of one major are: Debian and the official image, Fedora and RHEL, the site's.
FOLDERS = ("/usr/lib/postgresql/{major}/bin", "/usr/pgsql-{major}/bin", "/opt/postgresql/bin")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


@lru_cache
def program_major(program: Path) -> int | None:
    """The major of PostgreSQL that a program says it is of; None if it cannot be run."""
    try:
        done = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=VERSION_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(done.stdout)
    return int(found.group(1)) if found else None
