"""A command of `python3 -m bench`, run to its end as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from shell.machine import PROJECT

from .engine import docker
from .runs import PATIENCE


@dataclass(frozen=True)
class Bench:
    """How it ended: exit status, and what it wrote to standard output and standard error."""

    pid: int
    status: int
    out: str
    err: str

    def has_left(self) -> str:
        """The ids of the containers of its site that are still there, one in each line."""
        label = f"label=com.docker.compose.project=bench-{self.pid}-prod"
        return docker("ps", "--all", "--quiet", "--filter", label)


def run_bench(folder: Path, *words: str) -> Bench:
    """Run `python3 -m bench WORDS`; what it says passes through files in the folder."""
    command = [sys.executable, "-m", "bench", *words]
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        bench = subprocess.Popen(command, cwd=PROJECT, stdout=out, stderr=err)
        try:
            status = bench.wait(PATIENCE)
        finally:
            bench.terminate()  # it removes what it has made
            bench.wait(PATIENCE)
    return Bench(bench.pid, status, (folder / "out").read_text(), (folder / "err").read_text())
