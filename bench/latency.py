"""`python3 -m bench latency`: how long visitors wait while the site is released."""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass

from bench import machine, reliability
from bench.process import say
from bench.release_runs import ReleasedSite, temporary_site
from bench.traffic import ORDER, Tally, traffic

PER_THOUSAND = {ORDER: 350}  # the others are pages with a query
SETTLED = 3.0  # seconds of traffic before it is measured
COLUMNS = ("round", "median before", "p99 before", "median during", "p99 during", "times the p99")
NOTE = """\
A release with a build, and a migration that is rehearsed, under visitors who ask for pages and send
orders at a constant rate. *during*: from the command until the old version is stopped, without the
watch. Visitors, site and builds share the machine. Seconds; of all rounds the median.
"""


@dataclass(frozen=True)
class Round:
    """Seconds that requests took, before a release and during it."""

    before: list[float]
    during: list[float]

    @property
    def times(self) -> float:
        """How many times the 99th percentile before is the one during."""
        return p99(self.during) / p99(self.before)

    def cells(self, name: str) -> list[str]:
        """As text, in the order of COLUMNS."""
        seconds = [
            value for part in (self.before, self.during) for value in (median(part), p99(part))
        ]
        return [name, *(f"{value:.3f}" for value in seconds), f"{self.times:.1f}"]


def median(seconds: list[float]) -> float:
    """Of at least one."""
    return statistics.median(seconds)


def p99(seconds: list[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(seconds, n=100)[-1]


def main(arguments: list[str]) -> int:
    """Release under traffic, measure and print."""
    parser = argparse.ArgumentParser(
        prog="python3 -m bench latency",
        description="Measure how long requests take before and during a release with a build and "
        "a rehearsal. Needs Docker, the environment of `sh run.sh test` and a machine that does "
        "nothing else; removes everything that it makes, but for build caches.",
    )
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="default 5")
    add("--rate", type=float, default=100, help="requests per second, about; default 100")
    add("--connections", type=int, default=30, help="default 30")
    add("--seconds", type=float, default=30, help="before each release; default 30")
    add("--write", action="store_true", help="write the table to docs/reliability.md")
    options = parser.parse_args(arguments)
    machine.require_engine()
    facts = {
        "command": f"`python3 -m bench latency {' '.join(arguments)}`".replace(" --write", ""),
        **machine.facts_of_release(0),
        "visitors": f"{options.connections}, {options.rate:g} requests per second together",
    }
    with temporary_site(0) as site:
        say("build the site and start it")
        site.start()
        tally = Tally(moment=site.moment)
        visits = traffic(
            site.address(),
            tally,
            rate=options.rate,
            connections=options.connections,
            per_thousand=PER_THOUSAND,
        )
        with visits:
            rounds = [one_round(site, tally, options.seconds) for _ in range(options.rounds)]
    for line in tally.failures:
        say(line)
    rows = [one.cells(str(number)) for number, one in enumerate(rounds, 1)]
    times = statistics.median(one.times for one in rounds)
    verdict = f"During a release the 99th percentile is {times:.1f} times that before it."
    if options.write:
        section = reliability.SECTION.format(
            heading=reliability.LATENCY,
            note=NOTE.strip(),
            verdict=verdict,
            table=reliability.table(COLUMNS, rows),
            facts=reliability.listed(facts),
        )
        page = reliability.written()
        reliability.write(reliability.with_sections(page, {reliability.LATENCY: section}))
    print(reliability.table(COLUMNS, rows))
    print(verdict)
    return 1 if sum(tally.failed.values()) else 0


def one_round(site: ReleasedSite, tally: Tally, seconds: float) -> Round:
    """So many seconds, and then a release."""
    time.sleep(SETTLED)
    before = len(tally.seconds)
    time.sleep(seconds)
    during = len(tally.seconds)
    site.add_column()
    site.change_one_line()
    released = site.release()
    after = len(tally.seconds)
    found = Round(tally.seconds[before:during], tally.seconds[during:after])
    steps = ", ".join(f"{step} {took:.0f} s" for step, took in released.seconds.items())
    say(f"{found.times:.1f} times; {steps}")
    return found
