"""Releases under mixed traffic, by the command with which a user measures them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from shell.machine import PROJECT

from .engine import docker
from .runs import PATIENCE

RELEASES, REQUESTS = 3, 1500


@pytest.mark.usefixtures("engine")
def test_releases_one_with_a_migration_lose_no_request_and_do_none_twice(tmp_path: Path) -> None:
    """GET, POST, slow requests and uploads over HTTP/1.1 and HTTP/2, whose answers are checked."""
    # So many come while it is released: the test takes no longer for them.
    asked = {"--releases": RELEASES, "--requests": REQUESTS, "--rate": 30, "--watch": 2}
    words = [word for name, value in asked.items() for word in (name, str(value))]
    command = [sys.executable, "-m", "bench", "releases", *words]
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        bench = subprocess.Popen(command, cwd=PROJECT, stdout=out, stderr=err)
        try:
            status = bench.wait(PATIENCE)
        finally:
            bench.terminate()  # it removes what it has made
            bench.wait(PATIENCE)
    said = (tmp_path / "out").read_text(), (tmp_path / "err").read_text()

    assert status == 0, said
    head, _, row = (line.strip("| ").split(" | ") for line in said[0].splitlines()[:3])
    found = dict(zip(head, row, strict=True))
    assert (found["release"], found["times"]) == ("released", str(RELEASES))
    lost = {name: found[name] for name in ("failed", "done twice", "missing")}
    assert lost == {"failed": "0", "done twice": "0", "missing": "0"}, said
    asked_for = [int(found[name].replace(",", "")) for name in ("GET", "POST", "3 s", "5 MB")]
    assert sum(asked_for) >= REQUESTS
    assert min(asked_for) > 0, f"each kind: {found}"
    label = f"label=com.docker.compose.project=bench-{bench.pid}-prod"
    assert docker("ps", "--all", "--quiet", "--filter", label) == ""
