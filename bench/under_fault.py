"""`python3 -m bench under-fault`: does the site come back by itself, and is a row lost?"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import machine, reliability
from bench.broken import FAULTS, BrokenSite, Fault
from bench.process import say
from bench.release_runs import Run
from bench.traffic import HTTP1, ORDER, PAGE, Tally, compare, traffic

ORDERS = {ORDER: 500}  # of a thousand requests
BEFORE, AFTER = 4.0, 3.0  # seconds of traffic around a fault
LONGEST_AWAY = 240.0  # seconds after the end of a fault; what is not back then does not come back
LONGEST_UNTOLD = 45.0  # seconds for which an alert is waited for when all is well again
PAUSE = 0.1  # seconds between two looks
RELEASE, BACKUP, RESTORE = "a release", "a backup", "a restore"
# Where each is met by the fault: the beginning of a step's name.
STEPS = {RELEASE: "Prepare the database", BACKUP: "Back up", RESTORE: "Restore"}
WELL = "went well"
COLUMNS = (
    "fault",
    "in the middle of",
    "lasted",
    "pages",
    "orders",
    "back after",
    "told after",
    "acknowledged",
    "lost",
    "what was interrupted",
)
NOTE = """\
Visitors ask for pages, and send orders with numbers. Something breaks, alone or in the middle of
a release, a backup or a restore. Nobody does anything but what is noted here, and the timer of
`service install` runs `watch --minute`. *pages*, *orders*: how many were answered of those that
ended while it lasted, so 0 of 0 is all that waited. *back after*: seconds from its end
(of what is killed: from the kill) until orders are acknowledged again.
*told after*: seconds from its beginning until an alert.
*lost*: orders that were acknowledged and are not in the table. *what was interrupted*: how it
ended; then it is run once more, and has to go well.

*the power is cut*: all containers and runs of `run.sh` end at once, the database's disk has what
had been written out to it, and then the command of the boot's unit runs. *read-only*: as the
kernel makes it when the device fails; then an administrator checks and mounts the disk. A jump of
the clock is not among these: a container has the clock of the machine.
"""


@dataclass
class Row:
    """One fault, and what came of it. Seconds are None where it did not come to that."""

    title: str
    during: str
    lasted: float = 0.0
    pages: tuple[int, int] = (0, 0)  # answered and asked, while it lasted
    orders: tuple[int, int] = (0, 0)
    back: float | None = None
    told: float | None = None
    acknowledged: int = 0
    lost: list[int] = field(default_factory=list)
    outcome: str = ""

    @property
    def is_right(self) -> bool:
        """It came back, and nothing is lost."""
        return self.back is not None and not self.lost

    def cells(self) -> list[str]:
        """As text, in the order of COLUMNS."""
        lasted = self.lasted >= 1
        return [
            self.title,
            self.during,
            f"{self.lasted:.0f} s" if lasted else "",
            f"{self.pages[0]} of {self.pages[1]}" if lasted else "",
            f"{self.orders[0]} of {self.orders[1]}" if lasted else "",
            "never" if self.back is None else f"{self.back:.0f} s",
            "" if self.told is None else f"{self.told:.0f} s",
            f"{self.acknowledged:,}",
            f"{len(self.lost)}",
            self.outcome,
        ]


def main(arguments: list[str]) -> int:
    """Break it in all these ways; 0: it came back each time, and nothing is lost."""
    options = read(arguments)
    machine.require_engine()
    disks = os.geteuid() == 0
    wanted = chosen(options.only)
    pairs = [(fault, during) for fault, during in wanted if disks or not fault.needs]
    if len(pairs) < len(wanted):
        say("without root there are no small disks, so faults of disks are left out")
    facts = {
        "command": f"`python3 -m bench under-fault {' '.join(arguments)}`".replace(" --write", ""),
        **machine.facts_of_release(0),
        "visitors": f"{options.connections}, {options.rate:g} requests per second together",
    }
    rows: list[Row] = []
    with broken_site(disks=disks) as site:
        say("build the site and start it")
        site.start()
        story = Story(site, options)
        for fault, during in pairs:
            row = story.row(fault, during)
            rows.append(row)
            say(" | ".join(row.cells()))
            if options.write:
                write(rows, facts)
            if row.back is None:
                say("it did not come back, so the others are left out")
                break
    print(reliability.table(COLUMNS, [row.cells() for row in rows]))
    return 0 if rows and all(row.is_right for row in rows) else 1


def read(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python3 -m bench under-fault",
        description="Break a site while visitors use it, and count what is lost. Needs Docker, the "
        "environment of `sh run.sh test`, and for faults of disks root; removes everything that "
        "it makes, but for build caches.",
    )
    add = parser.add_argument
    add("--only", action="append", default=[], help="such as 'killed, alone' or ', a release'")
    add("--seconds", type=float, help="how long those last that do not last a moment")
    add("--connections", type=int, default=10, help="default 10")
    add("--rate", type=float, default=20, help="requests per second, about; default 20")
    add("--write", action="store_true", help="write the rows to docs/reliability.md")
    return parser.parse_args(arguments)


def chosen(only: list[str]) -> list[tuple[Fault, str]]:
    """Faults, and what each is in the middle of: those with one of these texts, or all."""
    return [
        (fault, during)
        for during in ("", *STEPS)
        for fault in FAULTS
        if not only or any(text in f"{fault.title}, {during or 'alone'}" for text in only)
    ]


@contextmanager
def broken_site(*, disks: bool) -> Iterator[BrokenSite]:
    """A site of this process alone, not yet started; at the end all that it has made is removed."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        site = BrokenSite(f"bench-{os.getpid()}", Path(folder) / "site", disks=disks)
        try:
            yield site
        finally:
            site.remove()


class Timer(threading.Thread):
    """The timer of `service install`: a watch each minute."""

    def __init__(self, site: BrokenSite) -> None:
        """Not started."""
        super().__init__(daemon=True)
        self.site = site
        self.over = threading.Event()

    def run(self) -> None:
        """Until it is over. A watch may be killed with everything else."""
        while not self.over.is_set():
            if not self.site.has_power.wait(PAUSE):
                continue
            watch = self.site.begin("-0", "watch", "--minute")
            while watch.process.poll() is None and not self.over.wait(PAUSE):
                pass
            watch.kill()
            watch.process.wait()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inside, it runs."""
        self.start()
        try:
            yield
        finally:
            self.over.set()
            self.join()


class Story:
    """One fault after the other, on one site."""

    def __init__(self, site: BrokenSite, options: argparse.Namespace) -> None:
        """The site serves."""
        self.site = site
        self.options = options
        self.number = 1  # of the next order
        self.set = ""  # that is restored

    def row(self, fault: Fault, during: str) -> Row:
        """Break it once, under traffic."""
        row = Row(fault.title, during)
        say(f"{fault.title}{during and f', in the middle of {during}'}")
        self.prepare(during)
        tally = Tally(moment=self.site.moment)
        visits = traffic(
            self.site.address(),
            tally,
            rate=self.options.rate,
            connections=self.options.connections,
            numbers=itertools.count(self.number),
            protocols=(HTTP1,),
            per_thousand=ORDERS,
        )
        with visits, Timer(self.site).running():
            time.sleep(BEFORE)
            work = self.work_on(during)
            self.break_it(fault, row, tally)
            if work:
                row.outcome = self.ended(work)
            time.sleep(AFTER)
        for failure in tally.failures[:3]:
            say(failure)
        row.acknowledged = len(tally.acknowledged)
        row.lost = compare(tally, self.site.table(self.number)).missing
        self.number = max(tally.sent, default=self.number) + 1
        if work and row.outcome != WELL and row.back is not None:
            self.repeat(during)
        return row

    def break_it(self, fault: Fault, row: Row, tally: Tally) -> None:
        """Begin the fault, end it, and wait until the site is back."""
        told = len(self.site.told.read_text(encoding="utf-8"))
        seconds = (self.options.seconds or fault.seconds) if fault.seconds else 0.0
        began = time.monotonic()
        before = asked_of(tally)
        fault.begin(self.site)
        while time.monotonic() - began < seconds:
            time.sleep(PAUSE)
            self.note_told(row, told, began)
        row.lasted = time.monotonic() - began if seconds else 0.0
        after = asked_of(tally)
        row.pages, row.orders = (
            (after[kind][0] - before[kind][0], sum(after[kind]) - sum(before[kind]))
            for kind in (PAGE, ORDER)
        )
        ended = time.monotonic() if seconds else began
        marker = max(tally.sent, default=0)
        fault.end(self.site)
        while time.monotonic() - ended < LONGEST_AWAY:
            if row.back is None and max(tally.acknowledged, default=0) > marker:
                row.back = time.monotonic() - ended
            self.note_told(row, told, began)
            if row.back is not None and self.site.is_well():
                break
            time.sleep(PAUSE)
        else:
            row.back = None
        well = time.monotonic()
        while row.told is None and not seconds and time.monotonic() - well < LONGEST_UNTOLD:
            time.sleep(PAUSE)
            self.note_told(row, told, began)

    def note_told(self, row: Row, before: int, began: float) -> None:
        """When somebody was told."""
        if row.told is None and len(self.site.told.read_text(encoding="utf-8")) > before:
            row.told = time.monotonic() - began

    # --- What is interrupted ---

    def prepare(self, during: str) -> None:
        """What it needs."""
        if during == RELEASE:
            self.site.add_column()
            self.site.change_one_line()
        if during == RESTORE and not self.set:
            self.command("-0", "backup")
            said = self.site.runs[-1].text
            self.set = next(word for word in said.split() if word.startswith("backups/"))

    def words(self, during: str) -> tuple[str, ...]:
        """Of run.sh."""
        return {
            RELEASE: ("-0",),
            BACKUP: ("-0", "backup"),
            RESTORE: ("-0", "restore", f"{self.set}/database.dump"),
        }[during]

    def work_on(self, during: str) -> Run | None:
        """Begin it, and wait until it is where it is to be met."""
        if not during:
            return None
        work = self.site.begin(*self.words(during))
        while not work.look().startswith(STEPS[during]):
            if work.process.poll() is not None:
                raise work.error(f"ended before it came to {STEPS[during]!r}")
            time.sleep(PAUSE / 5)
        return work

    def ended(self, work: Run) -> str:
        """How, in a word."""
        status = work.wait()
        if status == 0:
            return WELL
        return "killed" if status < 0 else f"failed in: {work.failed_in or work.step}"

    def repeat(self, during: str) -> None:
        """It goes well now."""
        self.command(*self.words(during))

    def command(self, *words: str) -> None:
        """Run run.sh to its good end."""
        run_ = self.site.begin(*words)
        if run_.wait() != 0:
            raise run_.error(f"failed with status {run_.process.returncode}")


def asked_of(tally: Tally) -> Mapping[str, tuple[int, int]]:
    """How many of each kind were answered, and how many failed."""
    failed = {
        one: sum(count for (kind, _), count in tally.failed.items() if kind == one)
        for one in (PAGE, ORDER)
    }
    return {one: (tally.of_kind(one), failed[one]) for one in (PAGE, ORDER)}


# --- The page -------------------------------------------------------------------------------------


def write(rows: list[Row], facts: Mapping[str, str]) -> None:
    """Into docs/reliability.md; rows of what was not broken now stay."""
    page = reliability.written()
    told = {(cells[0], cells[1]): cells for cells in rows_of(page)}
    told |= {(row.title, row.during): row.cells() for row in rows}
    order = [(fault.title, during) for during in ("", *STEPS) for fault in FAULTS]
    kept = [told[key] for key in order if key in told]
    section = reliability.SECTION.format(
        heading=reliability.FAULTS,
        note=NOTE.strip(),
        verdict=verdict(kept),
        table=reliability.table(COLUMNS, kept),
        facts=reliability.listed(facts),
    )
    reliability.write(reliability.with_sections(page, {reliability.FAULTS: section}))


def rows_of(page: str) -> Iterator[list[str]]:
    """Those of the section on a page, without its head."""
    section = reliability.sections(page).get(reliability.FAULTS, "")
    titles = {fault.title for fault in FAULTS}
    for line in re.findall(r"^\| (.*) \|$", section, re.MULTILINE):
        cells = line.split(" | ")
        if cells[0] in titles:
            yield cells


def verdict(rows: list[list[str]]) -> str:
    """In a sentence."""
    acknowledged, lost = (
        sum(int(cells[COLUMNS.index(name)].replace(",", "")) for cells in rows)
        for name in ("acknowledged", "lost")
    )
    back = sum(cells[COLUMNS.index("back after")] != "never" for cells in rows)
    return (
        f"Of {len(rows)} faults the site came back from {back}; "
        f"of {acknowledged:,} acknowledged orders {lost} are lost."
    )
