"""`python3 -m bench releases`: is a request lost, or done twice, while the site is released?"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench import machine, reliability
from bench.process import BenchError, say
from bench.release_runs import ReleasedSite, Run, temporary_site
from bench.reliability import KILLED, OUTCOMES, RELEASED, Row
from bench.traffic import CONNECTIONS, Tally, compare, traffic

BETWEEN_MIGRATIONS = 5  # releases; the third is the first with one
BEFORE, AFTER = 2.0, 2.0  # seconds of traffic around the releases of a row
REFUSED, UNDONE, FAILED = 3, 4, 1
IN_PRODUCTION_ALONE = """migrations.RunSQL("DO $$ BEGIN IF current_database() = 'postdo' THEN \
RAISE EXCEPTION 'only in production'; END IF; END $$")"""


@dataclass(frozen=True)
class Options:
    """What was asked for; see the usage."""

    releases: int
    requests: int
    connections: int
    rate: float
    watch: int
    kill: bool
    outcomes: bool
    write: bool

    def words(self) -> str:
        """As they would be typed, without what is the default and without --write."""
        return " ".join(
            [f"--{name}" for name in ("kill", "outcomes") if getattr(self, name)]
            + [
                f"--{name} {value:g}"
                for name, value, usual in (
                    ("releases", self.releases, 20),
                    ("requests", self.requests, 100_000),
                    ("connections", self.connections, CONNECTIONS),
                    ("rate", self.rate, 150),
                    ("watch", self.watch, 5),
                )
                if value != usual
            ]
        )


def main(arguments: list[str]) -> int:
    """Release, count and print; 0: nothing was lost, 1: something was, or the bench failed."""
    options = read(arguments)
    machine.require_engine()
    facts = facts_of(options)
    with temporary_site(options.watch) as site:
        rows = Story(site, options).run()
    for line in itertools.chain.from_iterable(row.told() for row in rows):
        print(line, file=sys.stderr)
    if options.write:
        reliability.write(reliability.as_page(reliability.written(), rows, facts))
    print(reliability.as_table(rows))
    print(reliability.verdict(rows))
    return 0 if all(row.is_clean for row in rows) else 1


def read(arguments: list[str]) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python3 -m bench releases",
        description="Release the site again and again while visitors use it, and count what is "
        "lost. Needs Docker and the environment of `sh run.sh test`; removes everything that it "
        "makes, but for build caches.",
    )
    add = parser.add_argument
    add("--releases", type=int, default=20, help="how many in a row; default 20")
    add("--requests", type=int, default=100_000, help="in these, at least; default 100000")
    add("--connections", type=int, default=CONNECTIONS, help=f"default {CONNECTIONS}")
    add("--rate", type=float, default=150, help="requests per second, about; default 150")
    add("--watch", type=int, default=5, help="WATCH_SECONDS of the releases; default 5")
    add("--kill", action="store_true", help="also kill run.sh by -9 in each step of a release")
    add("--outcomes", action="store_true", help="also with releases that fail, each in its way")
    add("--write", action="store_true", help="write the table to docs/reliability.md")
    return Options(**vars(parser.parse_args(arguments)))


def facts_of(options: Options) -> dict[str, str]:
    """What a reader needs to judge the table."""
    return {
        "command": f"`python3 -m bench releases {options.words()}`".replace(" `", "`"),
        **machine.facts_of_release(options.watch),
        "visitors": f"{options.connections}",
    }


class Story:
    """The rows, one after the other, on one site."""

    def __init__(self, site: ReleasedSite, options: Options) -> None:
        """Nothing is started."""
        self.site = site
        self.options = options
        self.number = 1  # of the next order
        self.rows: list[Row] = []
        self.seconds: dict[str, float] = {}  # of each step of a release

    def run(self) -> list[Row]:
        """Start the site, and release it in all the ways that are wanted."""
        say("build the site and start it")
        self.site.start()
        if self.options.releases:
            with self.row(RELEASED, "released", self.options.releases) as tally:
                self.release(tally)
        if self.options.kill:
            if not self.seconds:
                self.site.add_column()
                self.seconds = self.next_release().seconds
            for step in list(self.seconds):
                with self.row(KILLED, f"killed in: {step}"):
                    self.kill_in(step)
        if self.options.outcomes:
            for title, outcome in self.outcomes().items():
                with self.row(OUTCOMES, title):
                    outcome()
        return self.rows

    @contextmanager
    def row(self, part: str, title: str, times: int = 1) -> Iterator[Tally]:
        """Inside, there is traffic; afterwards a row tells what became of it."""
        tally = Tally(moment=self.site.moment)
        first, began = self.number, time.monotonic()
        visits = traffic(
            self.site.address(),
            tally,
            rate=self.options.rate,
            connections=self.options.connections,
            numbers=itertools.count(first),
        )
        try:
            with visits:
                time.sleep(BEFORE)
                yield tally
                time.sleep(AFTER)
        except BenchError:
            for line in tally.failures:
                say(line)
            raise
        self.number = max(tally.sent, default=first) + 1
        kept = compare(tally, self.site.table(first))
        row = Row(part, title, times, time.monotonic() - began, tally, kept)
        self.rows.append(row)
        rate = tally.requests / row.seconds
        say(f"{title}: {tally.requests} requests, {rate:.0f}/s, {row.failed} failed")

    def release(self, tally: Tally) -> None:
        """So many releases, spread over so many requests."""
        count, wanted = self.options.releases, self.options.requests
        for number in range(1, count + 1):
            if number % BETWEEN_MIGRATIONS == 3:  # noqa: PLR2004
                self.site.add_column()
            began = time.monotonic()
            self.seconds |= self.next_release().seconds
            took = time.monotonic() - began
            so_far = f"{tally.requests} requests, {sum(tally.failed.values())} failed"
            say(f"release {number} of {count}: {took:.0f} s; {so_far}")
            while tally.requests < wanted * number / count:
                time.sleep(0.1)

    def next_release(self) -> Run:
        """One changed line."""
        self.site.change_one_line()
        return self.site.release()

    def kill_in(self, step: str) -> None:
        """Kill a release in the middle of a step; another run then has to bring it to its end."""
        self.site.add_column()
        self.site.change_one_line()
        run = self.site.begin("-0")
        if not run.kill_in(step, self.seconds[step] / 2):
            raise run.error(f"ended before it could be killed in {step!r}")
        self.site.release()

    # --- Releases that fail, each in its way ---

    def outcomes(self) -> dict[str, Callable[[], None]]:
        """What can become of a release."""
        return {
            "refused": self.refused,
            "undone": self.undone,
            "unhealthy": self.unhealthy,
            "smoke test failed": self.smoke_test_failed,
            "taken back": self.taken_back,
            "rolled back": self.rolled_back,
        }

    def refused(self) -> None:
        """It would drop a column with values."""
        with self.failing("Prepare the database", REFUSED):
            self.site.migrate('migrations.RemoveField("order", "note")')
            self.site.replace("models.py", "    note = models.TextField()\n", "")

    def undone(self) -> None:
        """Its migration passes the rehearsal, and fails in production."""
        with self.failing("Prepare the database", UNDONE):
            self.site.migrate(IN_PRODUCTION_ALONE)

    def unhealthy(self) -> None:
        """Gunicorn does not start."""
        wrong = {"WSGI_APPLICATION": "config.wsgi:nothing", "START_TIMEOUT": "12"}
        with self.failing("Start", FAILED, **wrong):
            pass

    def smoke_test_failed(self) -> None:
        """A page is not there."""
        with self.failing("Smoke-test", FAILED, SMOKE_PATHS="/bench/no-such-page"):
            pass

    def taken_back(self) -> None:
        """It answers with errors after the switch."""
        with self.failing("Watch", FAILED, WATCH_SECONDS="60"):
            self.site.replace("faults.py", "\nSHARE = 0.0 ", "\nSHARE = 0.05 ")

    @contextmanager
    def failing(self, step: str, status: int, **environment: str) -> Iterator[None]:
        """Release what is changed inside; it has to fail in that step, and what served serves."""
        before = self.site.served()
        with self.site.put_back():
            yield
            self.site.change_one_line()
            run = self.site.begin("-0", **environment)
            ended = run.wait()
            if ended != status or not run.failed_in.startswith(step):
                raise run.error(f"ended with status {ended} in {run.failed_in!r}, not in {step!r}")
        if self.site.served() != before:
            raise run.error(f"left revision {self.site.served()} serving, not {before}")

    def rolled_back(self) -> None:
        """To the release before, and forward again."""
        before = self.site.served()
        self.next_release()
        self.site.revision, after = before, self.site.revision
        self.site.release("rollback")
        self.site.revision = after
        self.site.release()
