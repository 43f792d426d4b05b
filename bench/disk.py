"""`python3 -m bench disk`: what releases leave on the disk, and whether it stops growing."""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time

from bench import machine, project, reliability
from bench.process import BenchError, run, say
from bench.release_runs import ReleasedSite, temporary_site

KILO, MEGA = 1e3, 1e6
UNITS = {"B": 1.0, "kB": KILO, "MB": MEGA, "GB": 1e9, "TB": 1e12}  # as Docker writes sizes
EVERY = 10  # releases between two rows
COLUMNS = (
    "releases",
    "images",
    "MB of images",
    "MB of build cache",
    "MB of volumes",
    "MB in .postdo",
    "seconds each",
)
RECORDS = project.CLONE / "lib" / "build-cache.awk"


def main(arguments: list[str]) -> int:
    """Release, weigh and print."""
    parser = argparse.ArgumentParser(
        prog="python3 -m bench disk",
        description="Release again and again, each time with one changed line, and print what is "
        "on the disk after every ten. Needs Docker and the environment of `sh run.sh test`, and a "
        "machine on which nothing else of this kit is built meanwhile.",
    )
    parser.add_argument("--releases", type=int, default=50, help="default 50")
    options = parser.parse_args(arguments)
    machine.require_engine()
    facts = machine.facts_of_release(0)
    with temporary_site(0) as site:
        let_cache_grow_old(site)
        before = set(build_cache())
        rows = []
        say("build the site and start it")
        site.start()
        took: list[float] = []
        for number in range(1, options.releases + 1):
            site.change_one_line()
            (site.folder / ".postdo" / "build-cache").unlink(missing_ok=True)  # a day later
            began = time.monotonic()
            site.release()
            took.append(time.monotonic() - began)
            say(f"release {number} of {options.releases}: {took[-1]:.0f} s")
            if number % EVERY == 0 or number == options.releases:
                rows.append([f"{number}", *weigh(site, before), f"{statistics.median(took):.0f}"])
                say(" | ".join(rows[-1]))
                took.clear()
    print(reliability.table(COLUMNS, rows))
    print(reliability.listed(facts))
    return 0


def let_cache_grow_old(site: ReleasedSite) -> None:
    """After two minutes instead of a day, since these releases come one after the other."""
    path = site.folder / "lib" / "releases.sh"
    text, changed = re.subn(r"^CACHE_OLD=24h", "CACHE_OLD=2m", path.read_text(), flags=re.MULTILINE)
    if changed != 1:
        raise BenchError(f"{path} has no line CACHE_OLD", "correct bench/disk.py")
    path.write_text(text)


def weigh(site: ReleasedSite, before: set[str]) -> list[str]:
    """What the site has on the disk, without the build cache that was there before."""
    every = json.loads(run(["docker", "system", "df", "--verbose", "--format", "json"]))
    images = [one for one in every["Images"] if one["Repository"] == f"{site.prefix}-web"]
    own = {one["ID"]: in_bytes(one["UniqueSize"]) for one in images}
    shared = max((in_bytes(one["SharedSize"]) for one in images), default=0.0)
    cache = sum(size for record, size in build_cache().items() if record not in before)
    volumes = sum(
        in_bytes(one["Size"]) for one in every["Volumes"] if one["Name"].startswith(site.name)
    )
    state = run(["du", "-sk", str(site.folder / ".postdo")]).split()[0]
    sizes = (shared + sum(own.values()), cache, volumes, int(state) * 1024)
    return [
        f"{len(own)}",
        *(f"{size / MEGA:.0f}" for size in sizes[:-1]),
        f"{sizes[-1] / MEGA:.1f}",
    ]


def build_cache() -> dict[str, float]:
    """The records of this kit's Dockerfile that no image has: id to bytes."""
    text = run(["docker", "buildx", "du", "--verbose"])
    ours = "".join(
        run(["awk", "-v", f"want={want}", "-f", str(RECORDS)], standard_input=text)
        for want in ("replaced", "others")
    )
    sizes = dict(re.findall(r"^ID:\s+(\S+)$.*?^Size:\s+(\S+)$", text, re.MULTILINE | re.DOTALL))
    return {
        record: in_bytes(sizes[record]) for record in re.findall(r"\t(\S+)$", ours, re.MULTILINE)
    }


def in_bytes(size: str) -> float:
    """Of a size as Docker writes it, such as 4.688MB."""
    number, unit = re.fullmatch(r"([0-9.]+)([kMGT]?B)", size).groups()  # type: ignore[union-attr]
    return float(number) * UNITS[unit]
