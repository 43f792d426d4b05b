"""`python3 -m bench backups`: what a set, its verification and a restore take, and what is lost.

Beside `pg_dump | pg_restore` of the same database, in the same run.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench import engine, machine, reliability
from bench.process import BenchError, run, say
from bench.release_runs import ReleasedSite, temporary_site
from bench.traffic import ORDER, PAGE, TITLES, Tally, compare, traffic

MEGA = 1e6
ROWS_PER_MEGABYTE = 3000  # of FILL, as pg_database_size counts them
SWAP = "Swap the databases while requests wait"
ORDERS = {ORDER: 500}  # of a thousand requests
WRITTEN = 10.0  # seconds of orders before everything is killed
SUPERUSER = "postdo_superuser"
# Rows of about 250 bytes, half of which gzip cannot make smaller, as in a table of a shop.
FILL = """
CREATE TABLE bench_rows (id bigint PRIMARY KEY, code text NOT NULL, note text NOT NULL);
INSERT INTO bench_rows SELECT n, md5(n::text) || md5((-n)::text), repeat('a word of ' || n % 97, 9)
FROM generate_series(1, {rows}) n;
CREATE INDEX bench_rows_code ON bench_rows (code);
ALTER TABLE bench_rows OWNER TO postdo;
ANALYZE bench_rows;
"""
COPY = "pg_dump -Fc -Z1 -U {user} -d postdo | pg_restore -U {user} -d bench_copy --exit-on-error"
# A quarter of the rows, each written anew with its index: WAL of about a third of the database.
CHANGE = "UPDATE bench_rows SET note = note || '.' WHERE id % 4 = 0"
MISSED = """
SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) FROM pg_replication_slots
WHERE slot_name = 'postdo_archive'
"""
RECEIVED = """
SELECT coalesce(max(write_lsn) >= '{position}', false) FROM pg_stat_replication
WHERE application_name = 'postdo_archive'
"""
CATCH_UP_SECONDS = 900.0
COLUMNS = ("what", "seconds", "")


@dataclass
class Measured:
    """Of one size: what it took, in seconds, and a remark to each."""

    megabytes: int
    rows: list[list[str]] = field(default_factory=list)
    failed: int = 0  # requests, while a set was restored
    missing: int = 0  # acknowledged orders that the archive did not have

    def add(self, what: str, seconds: float | None, remark: str = "") -> None:
        """Note a row, and say it."""
        self.rows.append([what, "" if seconds is None else f"{seconds:.1f}", remark])
        say(" | ".join(self.rows[-1]))


def main(arguments: list[str]) -> int:
    """Measure and print; 1 if a request failed while a set was restored."""
    parser = argparse.ArgumentParser(
        prog="python3 -m bench backups",
        description="Measure a set of `backup`, its verification and a restore under visitors, "
        "beside pg_dump | pg_restore; then kill everything by -9, throw the database's disk away, "
        "and recover it from the archive. Needs Docker and the environment of `sh run.sh test`; "
        "removes everything that it makes, but for build caches.",
    )
    add = parser.add_argument
    add("--megabytes", type=int, nargs="+", default=[10, 1000], help="sizes; default 10 1000")
    add("--rate", type=float, default=50, help="requests per second, about; default 50")
    add("--connections", type=int, default=20, help="default 20")
    options = parser.parse_args(arguments)
    machine.require_engine()
    facts = {
        "command": f"`python3 -m bench backups {' '.join(arguments)}`",
        **machine.facts_of_release(0),
        "visitors": f"{options.connections}, {options.rate:g} requests per second together",
    }
    found = []
    for megabytes in options.megabytes:
        measured = Measured(megabytes)
        found.append(measured)
        measure(measured, options.rate, options.connections)
    for measured in found:
        print(f"\n### {measured.megabytes} MB\n")
        print(reliability.table(COLUMNS, measured.rows))
    print(reliability.listed(facts))
    return 1 if any(measured.failed for measured in found) else 0


def measure(measured: Measured, rate: float, connections: int) -> None:
    """All of it, on a site of its own."""
    with temporary_site(0) as site:
        site.environment |= {"PITR": "on", "BACKUP_AT": "", "SCHEDULE_CLEARSESSIONS": ""}
        say(f"build the site and start it with {measured.megabytes} MB")
        site.start()
        sql(site, FILL.format(rows=measured.megabytes * ROWS_PER_MEGABYTE))
        size = int(sql(site, "SELECT pg_database_size('postdo')"))
        measured.add("the database", None, f"{size / MEGA:.0f} MB")
        measured.add("pg_dump \\| pg_restore", dump_and_restore(site), "checks nothing")
        done, seconds = command(site, "-0", "backup")
        folder = next(word for word in done.split() if word.startswith("backups/"))
        measured.add("a set", seconds, f"{bytes_in(site.folder / folder) / MEGA:.0f} MB")
        _, seconds = command(site, "backup", "verify")
        measured.add("its verification", seconds, "restored, compared, the site started on it")
        restore(measured, site, folder, rate, connections)
        command(site, "-0", "restore", "--drop-old")
        catch_up(measured, site)
        lose_the_disk(measured, site, rate, connections)


def restore(
    measured: Measured, site: ReleasedSite, folder: str, rate: float, connections: int
) -> None:
    """Put the set back while visitors look at pages."""
    tally = Tally(moment=site.moment)
    visits = traffic(site.address(), tally, rate=rate, connections=connections, per_thousand={})
    with visits:
        _, seconds = command(site, "-0", "restore", "--yes", folder)
    for failure in tally.failures:
        say(failure)
    measured.failed = sum(tally.failed.values())
    held = site.runs[-1].seconds.get(SWAP, 0.0)
    asked = tally.of_kind(PAGE) + measured.failed
    measured.add("a restore of the set", seconds, "first a set of what is there")
    measured.add("- requests were held", held, f"longest wait {tally.slowest:.1f} s")
    measured.add("- requests that failed", None, f"{measured.failed} of {asked} {TITLES[PAGE]}")


def catch_up(measured: Measured, site: ReleasedSite) -> None:
    """Stop the archive's receiver while much is written, then let it catch up."""
    archive = engine.container(site.name, "archive")
    run(["docker", "stop", archive])
    sql(site, CHANGE)
    missed = float(sql(site, MISSED))
    position = sql(site, "SELECT pg_current_wal_lsn()")
    began = time.monotonic()
    run(["docker", "start", archive])
    while sql(site, RECEIVED.format(position=position)) != "t":
        if time.monotonic() - began > CATCH_UP_SECONDS:
            raise BenchError(
                f"the archive did not catch up in {CATCH_UP_SECONDS:.0f} s",
                "look at its log, then try again",
            )
        time.sleep(0.5)
    measured.add("the archive was away", time.monotonic() - began, f"{missed / MEGA:.0f} MB of WAL")


def lose_the_disk(measured: Measured, site: ReleasedSite, rate: float, connections: int) -> None:
    """Kill all containers by -9 while orders come in, and recover without the database's disk."""
    command(site, "-0", "backup", "base")
    tally = Tally()
    visits = traffic(site.address(), tally, rate=rate, connections=connections, per_thousand=ORDERS)
    label = ("--filter", f"label=com.docker.compose.project={site.name}")
    with visits:
        time.sleep(WRITTEN)
        run(["docker", "kill", *engine.listed("ps", "--quiet", *label)])
    acknowledged = len(tally.acknowledged)
    run(["docker", "rm", "--force", engine.container(site.name, "db")])
    run(["docker", "volume", "rm", f"{site.name}_prod-data"])
    began = time.monotonic()
    command(site, "-0")
    command(site, "-0", "restore", "--latest")
    command(site, "-0", "restore", "--swap")
    seconds = time.monotonic() - began
    measured.missing = len(compare(tally, site.table(1)).missing)
    lost = measured.missing * WRITTEN / max(acknowledged, 1)
    measured.add("the disk is lost: up again", seconds, "an empty start, the archive, the swap")
    measured.add(
        "- orders that are lost",
        None,
        f"{measured.missing} of {acknowledged} acknowledged, about {lost:.1f} s of them",
    )


def command(site: ReleasedSite, *arguments: str) -> tuple[str, float]:
    """Run `sh run.sh ARGUMENTS`; what it said, and the seconds that it took."""
    began = time.monotonic()
    done = site.begin(*arguments)
    if done.wait() != 0:
        raise done.error(f"failed with status {done.process.returncode}")
    return done.text, time.monotonic() - began


def dump_and_restore(site: ReleasedSite) -> float:
    """Seconds of the pipe that people use, in the database's own container."""
    sql(site, "CREATE DATABASE bench_copy")
    words = ["docker", "exec", "-u", "postgres", engine.container(site.name, "db"), "bash", "-c"]
    began = time.monotonic()
    run([*words, f"set -o pipefail; {COPY.format(user=SUPERUSER)}"])
    seconds = time.monotonic() - began
    sql(site, "DROP DATABASE bench_copy")
    return seconds


def sql(site: ReleasedSite, text: str) -> str:
    """Run SQL as the superuser; what psql printed."""
    login = ("-U", SUPERUSER, "-d", "postdo", "-v", "ON_ERROR_STOP=1")
    words = ["docker", "exec", "-i", "-u", "postgres", engine.container(site.name, "db")]
    return run([*words, "psql", "-qAtX", *login], standard_input=text).strip()


def bytes_in(folder: Path) -> int:
    """The size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.iterdir())
