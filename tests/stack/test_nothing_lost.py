"""Releases under mixed traffic, by the command with which a user measures them."""

from __future__ import annotations

from pathlib import Path

import pytest

from .benches import run_bench

RELEASES, REQUESTS = 3, 1500


@pytest.mark.usefixtures("engine")
def test_releases_one_with_a_migration_lose_no_request_and_do_none_twice(tmp_path: Path) -> None:
    """GET, POST, slow requests and uploads over HTTP/1.1 and HTTP/2, whose answers are checked."""
    # So many come while it is released: the test takes no longer for them.
    asked = {"--releases": RELEASES, "--requests": REQUESTS, "--rate": 30, "--watch": 2}
    words = [word for name, value in asked.items() for word in (name, str(value))]
    bench = run_bench(tmp_path, "releases", *words)

    assert bench.status == 0, bench
    head, _, row = (line.strip("| ").split(" | ") for line in bench.out.splitlines()[:3])
    found = dict(zip(head, row, strict=True))
    assert (found["release"], found["times"]) == ("released", str(RELEASES))
    lost = {name: found[name] for name in ("failed", "done twice", "missing")}
    assert lost == {"failed": "0", "done twice": "0", "missing": "0"}, bench
    asked_for = [int(found[name].replace(",", "")) for name in ("GET", "POST", "3 s", "5 MB")]
    assert sum(asked_for) >= REQUESTS
    assert min(asked_for) > 0, f"each kind: {found}"
    assert bench.has_left() == ""
