"""`python3 -m bench migrations`: what postdo adds to `migrate`, on one database after the other."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench import changes
from embedded_postgres import temporary_cluster
from embedded_postgres.binaries import choose

PENDING = (0, 1, 50)
FAST_AIM = 0.2  # seconds over Django's own start, with nothing pending
GATES_AIM = 2.0  # seconds over plain migrate, without the copy
COPY_AIM = 1.2  # times dump and restore alone


@dataclass
class Cell:
    """One size and number of pending migrations: what was measured, to the samples in seconds."""

    megabytes: int
    pending: int
    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, what: str, seconds: float) -> None:
        """Keep one sample."""
        self.samples.setdefault(what, []).append(seconds)

    def median(self, what: str) -> float:
        """Of all rounds."""
        return statistics.median(self.samples[what])

    def over(self, what: str, base: str) -> float:
        """The median of the differences of each round, which had the same machine."""
        pairs = zip(self.samples[what], self.samples[base], strict=True)
        return statistics.median(one - other for one, other in pairs)

    def lines(self) -> list[str]:
        """For people: the medians, then whether the aims are met."""
        title = f"{self.megabytes} MB, {self.pending} pending of {changes.APPLIED + self.pending}"
        found = [title, *(f"  {what:<34}{self.median(what):8.3f} s" for what in self.samples)]
        if self.pending == 0:
            beyond = self.over("postdo", "django.setup()")
            return [*found, aim("beyond Django's start", beyond, FAST_AIM, "s")]
        gates = self.over("postdo, no copy", "plain migrate")
        times = self.median("postdo's copy") / self.median("dump and restore")
        return [
            *found,
            aim("gates, beyond plain migrate", gates, GATES_AIM, "s"),
            aim("the copy, in dumps and restores", times, COPY_AIM, "x"),
        ]


def aim(what: str, value: float, most: float, unit: str) -> str:
    """A line with an aim."""
    said = "met" if value < most else "NOT MET"
    return f"  {what:<34}{value:8.3f} {unit}   aim: under {most} {unit}; {said}"


def measure(site: changes.Site, cell: Cell, rounds: int) -> None:
    """All ways take turns, each on a fresh copy of the database."""
    changes.pend(site, changes.APPLIED + 1, cell.pending)
    ways: dict[str, Callable[[changes.Site], float]] = {
        "django.setup()": lambda on: on.python("-c", "import django; django.setup()"),
        "plain migrate": lambda on: on.python("-m", "django", "migrate", "-v0"),
        "postdo": lambda on: on.python("-m", "postdo", "migrate"),
    }
    if cell.pending:
        ways["postdo, no copy"] = lambda on: on.python("-m", "postdo", "migrate", REHEARSE="off")
        ways["postdo's copy"] = lambda on: on.copy_by_postdo()
        ways["dump and restore"] = lambda on: on.copy_alone()
    for _ in range(rounds):
        if cell.pending:  # while the server holds this one database
            cell.add("base backup", site.base_backup())
        for what, way in ways.items():
            with site.copied() as on, changes.watched(on) as held:
                cell.add(what, way(on))
            if cell.pending and what in ("plain migrate", "postdo"):
                cell.add(f"longest lock, {what}", max(held.values(), default=0.0))


def main(arguments: list[str]) -> int:
    """Measure and print; exit codes as of `python3 -m bench`."""
    parser = argparse.ArgumentParser(prog="python3 -m bench migrations", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement; default 3")
    parser.add_argument(
        "--megabytes", type=int, nargs="+", default=[10, 1000], help="sizes; default 10 1000"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with every sample")
    options = parser.parse_args(arguments)
    changes.use_test_environment("migrations", arguments)
    cells = [cell for size in options.megabytes for cell in measure_size(size, options.rounds)]
    load = f"load {os.getloadavg()[2]:.1f} on {os.cpu_count()} cores, {choose().version}"
    if options.json:
        values = [{**vars(cell)} for cell in cells]
        print(json.dumps({"machine": load, "cells": values}, indent=2))
    else:
        print(f"medians of {options.rounds} rounds; {load}")
        print("\n".join(line for cell in cells for line in cell.lines()))
    return 0


def measure_size(megabytes: int, rounds: int) -> list[Cell]:
    """On a server of its own, which is gone afterwards."""
    cells = [Cell(megabytes, pending) for pending in PENDING]
    with (
        temporary_cluster(memory=False) as cluster,
        cluster.fresh_database("bench_site") as url,
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
    ):
        site = changes.make(Path(folder), url, choose().folder, megabytes)
        for cell in cells:
            measure(site, cell, rounds)
    return cells
