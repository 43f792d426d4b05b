"""A site that is broken under load, by the command with which a user measures it.

A few of its faults, for seconds: `python3 -m bench under-fault` has them all.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from stack.benches import run_bench

SECONDS = 20  # the health check of the database comes every 10, and later on a busy machine
FULL = "the disk of the database is full"
HANGS = "the database answers nobody"
CUT = "the network between site and database is cut"
CHOSEN = (f"{FULL}, alone", f"{CUT}, alone", f"{HANGS}, a release")


@pytest.mark.usefixtures("engine")
def test_a_full_disk_a_cut_network_and_a_database_that_hangs_in_a_release_lose_no_order(
    tmp_path: Path,
) -> None:
    """And the site is back each time, without a hand."""
    words = [word for text in CHOSEN for word in ("--only", text)]
    bench = run_bench(tmp_path, "under-fault", "--seconds", str(SECONDS), *words)

    assert bench.status == 0, bench
    head, _, *lines = (line.strip("| ").split(" | ") for line in bench.out.splitlines())
    rows = {line[0]: dict(zip(head, line, strict=False)) for line in lines}
    # Only root makes a small disk.
    assert rows.keys() == {CUT, HANGS, *([FULL] if os.geteuid() == 0 else [])}
    for row in rows.values():
        assert (row["lost"], row["back after"].endswith(" s")) == ("0", True), bench
        assert int(row["acknowledged"].replace(",", "")) > 0
    if FULL in rows:
        answered, asked = rows[FULL]["pages"].split(" of ")
        assert answered == asked != "0", bench
        answered, asked = rows[FULL]["orders"].split(" of ")
        assert int(answered) < int(asked), bench
    assert bench.has_left() == ""
