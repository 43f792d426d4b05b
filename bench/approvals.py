"""`python3 -m bench approvals`: what an upgrade that has to be approved costs beside `migrate`."""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import changes
from bench.process import BenchError
from embedded_postgres import temporary_cluster
from embedded_postgres.binaries import choose

MEGABYTES = 10
ASKED = re.compile(r"--approve ([0-9a-f]{12})")
REFUSED = 3
PAUSE_SECONDS = 0.05
# Sessions of others, whose time PostgreSQL's first process knows once they have ended.
OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
FORGET = "DELETE FROM postdo_journal.rehearsal"


@dataclass
class Costs:
    """Processor seconds by what was done: of our processes, and of the server's for them."""

    server: int
    samples: dict[str, list[float]] = field(default_factory=dict)

    def run(self, site: changes.Site, what: str, words: Sequence[str], **environment: str) -> str:
        """Run Python on the project, and keep what it cost. Returns what it printed."""
        began = self._now(site)
        variables = site.variables(environment)
        done = subprocess.run(
            [sys.executable, *words],
            cwd=site.root,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        text = done.stdout + done.stderr
        if done.returncode not in (0, REFUSED):
            raise BenchError(f"{what} failed: {text}", "read what it said")
        self.samples.setdefault(what, []).append(self._now(site) - began)
        return text

    def _now(self, site: changes.Site) -> float:
        maintenance = site.at("postgres")
        while maintenance.sql(OTHERS) != [(0,)]:
            time.sleep(PAUSE_SECONDS)
        ours = resource.getrusage(resource.RUSAGE_CHILDREN)
        times = Path(f"/proc/{self.server}/stat").read_text().rpartition(")")[2].split()
        theirs = sum(map(int, times[11:15])) / os.sysconf("SC_CLK_TCK")
        return ours.ru_utime + ours.ru_stime + theirs

    def median(self, *whats: str) -> float:
        """Of the sums over all rounds."""
        rounds = zip(*(self.samples[what] for what in whats), strict=True)
        return statistics.median(map(sum, rounds))


def measure(site: changes.Site, costs: Costs) -> None:
    """One round: each way on a fresh copy of the database."""
    with site.copied() as on:
        costs.run(on, "plain migrate", ("-m", "django", "migrate", "-v0"))
    for backups in ("", ", with a backup"):
        for kept in (False, True):
            with site.copied() as on, tempfile.TemporaryDirectory(prefix="bench-") as folder:
                environment = {"POSTDO_BACKUPS": folder} if backups else {}
                way = f"{'kept' if kept else 'twice'}{backups}"
                words = ("-m", "postdo", "migrate")
                said = costs.run(on, f"ask, {way}", words, **environment)
                asked = ASKED.search(said)
                if asked is None:
                    raise BenchError(f"nothing was asked: {said}", "read what it said")
                if not kept:
                    on.sql(FORGET)
                approving = (*words, "--approve", asked[1])
                said = costs.run(on, f"approve, {way}", approving, **environment)
                if ("reusing the rehearsal" in said) is not kept:
                    raise BenchError(f"this was not measured as {way}: {said}", "read it")


def lines(costs: Costs) -> list[str]:
    """For people: seconds, and how many times the plain way."""
    plain = costs.median("plain migrate")
    found = [f"  {'plain migrate':<44}{plain:6.2f} s"]
    for way in ("twice", "kept", "twice, with a backup", "kept, with a backup"):
        ask, approve = (costs.median(f"{what}, {way}") for what in ("ask", "approve"))
        both = costs.median(f"ask, {way}", f"approve, {way}")
        found.append(
            f"  {f'ask and approve, {way}':<44}{both:6.2f} s  {both / plain:4.1f} x"
            f"  (ask {ask:.2f}, approve {approve:.2f})"
        )
    return found


def main(arguments: list[str]) -> int:
    """Measure and print; exit codes as of `python3 -m bench`."""
    parser = argparse.ArgumentParser(prog="python3 -m bench approvals", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--pending", type=int, default=80, help="migrations; default 80")
    parser.add_argument("--json", action="store_true", help="print JSON, with every sample")
    options = parser.parse_args(arguments)
    changes.use_test_environment("approvals", arguments)
    try:
        costs = measure_all(options.rounds, options.pending)
    except OSError as failure:
        raise BenchError(str(failure), "run it on Linux") from failure
    if options.json:
        print(json.dumps({"pending": options.pending, "samples": costs.samples}, indent=2))
    else:
        load = f"load {os.getloadavg()[2]:.1f} on {os.cpu_count()} cores, {choose().version}"
        print(f"processor seconds, medians of {options.rounds} rounds; {load}")
        print(f"{options.pending + 1} pending of {changes.APPLIED + options.pending + 1}")
        print("\n".join(lines(costs)))
    return 0


def measure_all(rounds: int, pending: int) -> Costs:
    """On a server of its own, which is gone afterwards. What is pending loses a column."""
    with (
        temporary_cluster() as cluster,
        cluster.fresh_database("bench_site") as url,
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
    ):
        site = changes.make(Path(folder), url, choose().folder, MEGABYTES)
        changes.pend(site, changes.APPLIED + 1, pending)
        changes.drop_text(site, changes.APPLIED + 1 + pending)
        ((data,),) = site.sql("SELECT current_setting('data_directory')")
        costs = Costs(int((Path(str(data)) / "postmaster.pid").read_text().split()[0]))
        for _ in range(rounds):
            measure(site, costs)
        return costs
