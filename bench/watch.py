"""`python3 -m bench watch`: is a bad version always taken back, and a good one never?"""

from __future__ import annotations

import argparse
import itertools
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bench import machine, reliability
from bench.process import run, say
from bench.release_runs import ReleasedSite, Run, temporary_site
from bench.traffic import ORDER, Tally, traffic

ERRORS, ENDS, GOOD = "errors", "ends", "good"
TITLES = {
    ERRORS: "answers 2 % of the requests with a 500",
    ENDS: "ends after 10 s",
    GOOD: "good",
}
FAULTS = {ERRORS: ("SHARE = 0.0 ", "SHARE = 0.02 "), ENDS: ("SECONDS = 0.0 ", "SECONDS = 10.0 ")}
# Good ones take turns: what serves already is not released again.
IMAGES = {ERRORS: (ERRORS,), ENDS: (ENDS,), GOOD: (GOOD, "start")}
PER_THOUSAND = {ORDER: 350}  # the others are GETs; a drain need not wait for long requests
SETTLED = 3.0  # seconds of traffic before the first try
TAKEN_BACK = "the new version was replaced by the previous one, because"
COLUMNS = ("new version", "tries", "taken back", "longest watch", "requests", "failed")
NOTE = """\
A version is released again and again, as an image that was built before, while visitors ask for
pages and send orders. *ends after 10 s*: its server ends, and Docker starts it again. *longest
watch*: seconds until it was taken back. *failed*: requests that got an error from it, or from the
proxy because it had ended.
"""


@dataclass
class Tries:
    """What became of one kind of version.

    seconds: of the watch, of each try that was taken back.
    """

    kind: str
    count: int = 0
    seconds: list[float] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    @property
    def is_right(self) -> bool:
        """A good one stayed each time, a bad one never."""
        return len(self.seconds) == (0 if self.kind == GOOD else self.count)

    def cells(self) -> list[str]:
        """As text, in the order of COLUMNS."""
        return [
            TITLES[self.kind],
            f"{self.count}",
            f"{len(self.seconds)}",
            f"{max(self.seconds):.0f}" if self.seconds else "",
            f"{self.tally.requests:,}",
            f"{self.tally.faults + sum(self.tally.failed.values()):,}",
        ]


def main(arguments: list[str]) -> int:
    """Try, count and print; 0: each was judged rightly, 1: one was not, or the bench failed."""
    options = read(arguments)
    kinds = options.only or list(TITLES)
    machine.require_engine()
    facts = {
        "command": f"`python3 -m bench watch {' '.join(arguments)}`".replace(" --write", ""),
        **machine.facts_of_release(options.watch),
        "visitors": f"{options.connections}, {options.rate:g} requests per second together",
    }
    with temporary_site(options.watch) as site:
        prepare(site, kinds)
        found = []
        for kind in kinds:
            tries = Tries(kind, tally=Tally(moment=site.moment))
            found.append(tries)
            try:
                tried(site, tries, options)
            finally:  # what was tried counts, also if it is interrupted
                if options.write and tries.count:
                    write([tries.cells()], facts, add=options.add)
    rows = [tries.cells() for tries in found]
    print(reliability.table(COLUMNS, rows))
    return 0 if all(tries.is_right for tries in found) else 1


def read(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python3 -m bench watch",
        description="Release good and bad versions while visitors use the site, and count which "
        "ones are taken back. Needs Docker and the environment of `sh run.sh test`; removes "
        "everything that it makes, but for build caches.",
    )
    add = parser.add_argument
    add("--tries", type=int, default=20, help="of each kind of version; default 20")
    add("--only", action="append", choices=TITLES, help="this kind of version; default: all")
    add("--watch", type=int, default=15, help="WATCH_SECONDS; default 15")
    add("--connections", type=int, default=20, help="default 20")
    add("--rate", type=float, default=60, help="requests per second, about; default 60")
    add("--write", action="store_true", help="write the table to docs/reliability.md")
    add("--add", action="store_true", help="with --write: add to the tries of that page")
    return parser.parse_args(arguments)


def prepare(site: ReleasedSite, kinds: list[str]) -> None:
    """Start the site, and build an image for each kind of version."""
    say("build the versions and start the site")
    site.start()
    tag(site, "start")
    for kind in kinds:
        with site.put_back():
            site.change_one_line()
            if kind in FAULTS:
                before, after = FAULTS[kind]
                site.replace("faults.py", f"\n{before}", f"\n{after}")
            site.compose("build", "web")
            tag(site, kind)


def image(site: ReleasedSite, version: str) -> str:
    """The name of an image; `site.remove` removes it with the others."""
    return f"{site.prefix}-web:{version}"


def tag(site: ReleasedSite, version: str) -> None:
    """Name what was built last."""
    run(["docker", "tag", image(site, "next"), image(site, version)])


def tried(site: ReleasedSite, tries: Tries, options: argparse.Namespace) -> None:
    """Release that kind of version so often, under traffic."""
    images = itertools.cycle(IMAGES[tries.kind])
    visits = traffic(
        site.address(),
        tries.tally,
        rate=options.rate,
        connections=options.connections,
        per_thousand=PER_THOUSAND,
    )
    with visits:
        time.sleep(SETTLED)
        for number in range(1, options.tries + 1):
            released = site.begin("-0", IMAGE=image(site, next(images)))
            reason = reason_of(released)
            tries.count += 1
            if reason:
                tries.seconds.append(watched_seconds(released))
            say(f"{TITLES[tries.kind]}, {number} of {options.tries}: {reason or 'it serves'}")
    for line in tries.tally.failures if tries.kind != ENDS else ():  # where nobody is there
        say(line)


def reason_of(released: Run) -> str:
    """Why a version was taken back; empty if it serves."""
    status = released.wait()
    if status == 0:
        return ""
    said = next((line for line in released.text.splitlines() if TAKEN_BACK in line), "")
    if not said:
        raise released.error(f"failed with status {status}, and not by its watch")
    return said.partition(TAKEN_BACK)[2].strip()


def watched_seconds(released: Run) -> float:
    """How long the watch took."""
    return next(took for step, took in released.seconds.items() if step.startswith("Watch"))


def write(rows: list[list[str]], facts: Mapping[str, str], *, add: bool) -> None:
    """Into docs/reliability.md; the row of a kind that was not tried now stays."""
    page = reliability.written()
    told = {cells[0]: cells for cells in rows_of(page)}
    for cells in rows:
        told[cells[0]] = together(told[cells[0]], cells) if add and cells[0] in told else cells
    section = reliability.SECTION.format(
        heading=reliability.WATCH,
        note=NOTE.strip(),
        verdict=verdict(told),
        table=reliability.table(
            COLUMNS, [told[title] for title in TITLES.values() if title in told]
        ),
        facts=reliability.listed(facts),
    )
    reliability.write(reliability.with_sections(page, {reliability.WATCH: section}))


def together(before: list[str], now: list[str]) -> list[str]:
    """The tries of two runs as one row."""
    longest = COLUMNS.index("longest watch")
    both = [
        "" if (before[column], now[column]) == ("", "") else f"{added:,}"
        for column in range(1, len(COLUMNS))
        for numbers in [[int(cells[column].replace(",", "") or 0) for cells in (before, now)]]
        for added in [max(numbers) if column == longest else sum(numbers)]
    ]
    return [now[0], *both]


def rows_of(page: str) -> Iterator[list[str]]:
    """Those of the section on a page, without its head."""
    section = reliability.sections(page).get(reliability.WATCH, "")
    for line in re.findall(r"^\| (.*) \|$", section, re.MULTILINE):
        cells = line.split(" | ")
        if cells[0] in TITLES.values():
            yield cells


def verdict(rows: Mapping[str, list[str]]) -> str:
    """In a sentence."""
    good = rows.get(TITLES[GOOD])
    bad = [cells for title, cells in rows.items() if title != TITLES[GOOD]]
    told = []
    if bad:
        tries, taken = (sum(int(cells[column]) for cells in bad) for column in (1, 2))
        told.append(f"Of {tries} bad versions {taken} were taken back")
    if good:
        told.append(f"of {good[1]} good ones {good[2]}")
    text = ", ".join(told)
    return f"{text[:1].upper()}{text[1:]}."
