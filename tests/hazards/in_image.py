"""A Python that is not on this machine: python in_image.py FOLDER... -- ARGUMENTS...

As if it were here: with the same project, network and environment. It sees these folders, and the
packages in the first of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

IMAGE = "python:3.13-slim"  # production's
VERSION = "3.13"
# The image has its own.
NOT_TOLD = ("PATH", "HOME", "PYTHONPATH")


def at_hand() -> bool:
    """Whether the image is here; a container shares the machine's network on Linux only."""
    if sys.platform != "linux":
        return False
    try:
        asked = subprocess.run(
            ["docker", "image", "inspect", IMAGE],
            env={"PATH": os.environ["PATH"]},  # as a project's commands have it
            capture_output=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def python(*folders: Path) -> tuple[str, ...]:
    """The beginning of a command line: this file."""
    return (sys.executable, __file__, *map(str, folders), "--")


def main() -> None:
    """Become the container."""
    end = sys.argv.index("--")
    folders, arguments = sys.argv[1:end], sys.argv[end + 1 :]
    sources = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    mounts = dict.fromkeys([*sources, *folders], "ro") | {str(Path.cwd()): "rw"}
    words = ["docker", "run", "--rm", "--init", "--network=host", f"--workdir={Path.cwd()}"]
    words.append(f"--user={os.getuid()}:{os.getgid()}")
    words += [f"--volume={path}:{path}:{how}" for path, how in mounts.items()]
    words += [f"--env={name}" for name in os.environ if name not in NOT_TOLD]
    words.append(f"--env=PYTHONPATH={os.pathsep.join([*sources, folders[0]])}")
    os.execvp("docker", [*words, IMAGE, "python", *arguments])  # noqa: S606


if __name__ == "__main__":
    main()
