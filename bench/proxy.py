"""`python3 -m bench proxy`: is a request lost while another Caddy takes over in production?"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time

from bench import engine, machine, reliability
from bench.process import BenchError, run, say
from bench.release_runs import ReleasedSite, temporary_site
from bench.reliability import RELEASED, Row
from bench.traffic import CONNECTIONS, HTTP1, Tally, compare, traffic

NEWER = f"bench-{os.getpid()}-proxy:newer"  # the same Caddy, as another image
AROUND = 2.0  # seconds of traffic before and after
# One after the other, of the proxy alone: the site is not released for them.
CHANGES: tuple[dict[str, str], ...] = (
    {"ACCESS_LOG": "on"},
    {"ACCESS_LOG": "off"},
    {"PROXY_MEMORY": "300m"},
    {},
    {"CADDY_IMAGE": NEWER},
    {},
)


def main(arguments: list[str]) -> int:
    """Exchange, count and print; 0: nothing was lost, 1: something was."""
    parser = argparse.ArgumentParser(
        prog="python3 -m bench proxy",
        description="Change the proxy's settings and image again and again while visitors use "
        "the site by HTTPS, and count what is lost. Needs Docker and the environment of "
        "`sh run.sh test`; removes everything that it makes, but for build caches.",
    )
    add = parser.add_argument
    add("--changes", type=int, default=12, help="how many; default 12")
    add("--connections", type=int, default=CONNECTIONS, help=f"default {CONNECTIONS}")
    add("--rate", type=float, default=150, help="requests per second, about; default 150")
    options = parser.parse_args(arguments)
    machine.require_engine()
    with temporary_site(0) as site:
        row = exchange(site, options.changes, options.rate, options.connections)
    for line in row.told():
        print(line, file=sys.stderr)
    print(reliability.as_table([row]))
    return 0 if row.is_clean else 1


def exchange(site: ReleasedSite, changes: int, rate: float, connections: int) -> Row:
    """Start the site, and change its proxy so many times under traffic."""
    say("build the site and start it")
    site.start()
    before = started_at(site)
    make_newer_image(site)
    tally = Tally(moment=site.moment)
    began = time.monotonic()
    # Not over HTTP/2, where httpx gives up what is under way when a server asks it to connect
    # anew (docs/decisions/lost-requests.md).
    with traffic(site.address(), tally, rate=rate, connections=connections, protocols=(HTTP1,)):
        time.sleep(AROUND)
        for number, change in zip(range(1, changes + 1), itertools.cycle(CHANGES), strict=False):
            one = site.begin("-0", "--no-build", **change)
            if one.wait() != 0:
                raise one.error(f"failed with status {one.process.returncode}")
            failed = sum(tally.failed.values())
            say(f"{number} of {changes}: {tally.requests} requests, {failed} failed")
        time.sleep(AROUND)
    if started_at(site) != before:
        raise BenchError("the proxy's container was started again", "read what run.sh said")
    kept = compare(tally, site.table(1))
    return Row(RELEASED, "the proxy's settings", changes, time.monotonic() - began, tally, kept)


def make_newer_image(site: ReleasedSite) -> None:
    """It goes with the site's other images."""
    image = run(["docker", "image", "inspect", "--format", "{{.Id}}", f"{site.prefix}-proxy:live"])
    container = run(["docker", "create", image.strip()]).strip()
    run(["docker", "commit", "--change", "LABEL newer=yes", container, NEWER])
    run(["docker", "rm", container])


def started_at(site: ReleasedSite) -> str:
    """When the proxy's container was started."""
    wanted = "{{.Id}} {{.State.StartedAt}}"
    return run(["docker", "inspect", "--format", wanted, engine.container(site.name, "proxy")])
