"""`python3 -m bench sockets`: does an open page miss a message while the site is released?

So many WebSockets, and some server-sent events beside them, watch the notifications of some users
through the proxy. Meanwhile notifications are written, numbered for each user, and the site is
released. A client does what live.js does: when it is closed, it comes back after a moment, and asks
for what comes after the last id that it has. Then its numbers have to be 1, 2, 3, ... to the last.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Event, Thread
from typing import Protocol

from bench import engine, machine, project, websocket
from bench.process import BenchError, run, undisturbed
from bench.stacks import Kit, own_environment

COMES_BACK = (0.1, 2.0)  # seconds, as live.js after its first break
AT_ONCE = 100  # clients that connect at the same time, in the beginning
PATIENCE = 120.0  # seconds until all are connected, and until all have everything
WATCHED = Path(__file__).resolve().parent / "watched"


class Stream(Protocol):
    """An open connection."""

    code: int | None

    async def receive(self) -> str | None:
        """Return the next item as JSON; None once it has ended."""


@dataclass
class Tally:
    """What came of all clients."""

    connected: int = 0
    back: int = 0  # times that a client came back
    refused: Counter[str] = field(default_factory=Counter)  # tries that were answered otherwise
    closed: Counter[str] = field(default_factory=Counter)
    items: int = 0
    gaps: int = 0
    doubled: int = 0
    delays: list[float] = field(default_factory=list)  # seconds from the write to the arrival


@dataclass
class Client:
    """One page: it watches, and comes back."""

    port: int
    cookie: str
    tally: Tally
    events: bool
    number: int = 0  # of the last item
    last: int = 0  # its id

    async def live(self, gate: asyncio.Semaphore) -> None:
        """Watch until it is cancelled."""
        for attempt in itertools.count():
            try:
                async with gate:
                    stream = await self.open()
                self.tally.connected += 1
                self.tally.back += attempt > 0
                try:
                    while (text := await stream.receive()) is not None:
                        self.take(json.loads(text))
                finally:
                    self.tally.connected -= 1
                self.tally.closed[f"{'events' if self.events else 'socket'} {stream.code}"] += 1
            except (OSError, websocket.RefusedError) as error:
                self.tally.refused[str(error) or type(error).__name__] += 1
            await asyncio.sleep(random.uniform(*COMES_BACK))  # noqa: S311 - no secret

    async def open(self) -> Stream:
        """Connect, and ask for what is new."""
        host = f"localhost:{self.port}"
        headers = {"Host": host, "Origin": f"http://{host}", "Cookie": self.cookie}
        kind = "events" if self.events else "ws"
        connect = websocket.connect_events if self.events else websocket.connect
        return await connect(
            "127.0.0.1", self.port, f"/{kind}/notifications/?after={self.last}", headers
        )

    def take(self, item: dict[str, str]) -> None:
        """Count it, and hold its number against the one before."""
        number = int(item["text"])
        self.tally.items += 1
        self.tally.gaps += max(0, number - self.number - 1)
        self.tally.doubled += number <= self.number
        self.number = max(number, self.number)
        self.last = int(item["id"])
        written = datetime.fromisoformat(item["created"].replace("Z", "+00:00")).timestamp()
        self.tally.delays.append(time.time() - written)


class Clients:
    """All of them, in a thread."""

    def __init__(self, port: int, cookies: list[str], sockets: int, events: int) -> None:
        """Nothing is connected yet."""
        self.tally = Tally()
        self.all = [
            Client(port, cookies[number % len(cookies)], self.tally, number >= sockets)
            for number in range(sockets + events)
        ]
        self.over = Event()
        self.thread = Thread(target=lambda: asyncio.run(self._live()), daemon=True)

    async def _live(self) -> None:
        gate = asyncio.Semaphore(AT_ONCE)
        tasks = [asyncio.create_task(client.live(gate)) for client in self.all]
        await asyncio.to_thread(self.over.wait)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def missing(self, sent: int) -> int:
        """How many items clients have yet to get."""
        return sum(max(0, sent - client.number) for client in self.all)


class WatchedSite(Kit):
    """This kit with the part `live`, and users who watch."""

    def __init__(self, name: str, folder: Path, drain: int) -> None:
        """Make the clone; nothing is started."""
        super().__init__(name, folder, 0, direct=False)
        self.environment |= {
            "COMPOSE_PROFILES": "live",
            "PROD_SETTINGS": "bench_watched_settings",
            "DRAIN_SECONDS": str(drain),
        }
        shutil.copytree(WATCHED, self.source, dirs_exist_ok=True)

    @property
    def port(self) -> int:
        """Where visitors find it."""
        return int(self.environment["HTTP_PORT"])

    def manage(self, *words: str) -> str:
        """Run `manage.py` to its end; returns what it prints."""
        return run(
            ["sh", "run.sh", "-0", "manage", *words],
            folder=self.folder,
            environment=self.environment,
        )

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Run `manage.py` in a container of its own, beside releases; SIGTERM ends it."""
        web = engine.container(self.name, self.web)
        facts = json.loads(run(["docker", "inspect", web]))[0]
        network = f"{self.name}_backend"
        variables = [part for value in facts["Config"]["Env"] for part in ("--env", value)]
        argv = ["docker", "run", "--rm", "--name", f"{self.name}-tell", "--network", network]
        entry = ["--entrypoint", "python", facts["Image"], "manage.py"]
        return subprocess.Popen(
            [*argv, *variables, *entry, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=own_environment(),
        )


def main(words: list[str]) -> int:
    """Measure and print; 0: nothing was lost or doubled, 1: something was."""
    parser = argparse.ArgumentParser(prog="python3 -m bench sockets", description=__doc__)
    add = parser.add_argument
    add("--sockets", type=int, default=1000, help="WebSockets; default 1000")
    add("--events", type=int, default=50, help="server-sent events beside them; default 50")
    add("--users", type=int, default=50, help="whose notifications they watch; default 50")
    add("--releases", type=int, default=5, help="default 5")
    add("--rate", type=float, default=20, help="notifications a second; default 20")
    add("--drain", type=int, default=10, help="DRAIN_SECONDS; default 10")
    arguments = parser.parse_args(words)
    files = 2 * (arguments.sockets + arguments.events) + 100
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (files, max(files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    )
    machine.require_engine()
    with ExitStack() as cleaning:
        scratch = Path(cleaning.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        site = WatchedSite(f"bench-{os.getpid()}", scratch / "site", arguments.drain)
        cleaning.callback(_undisturbed, site)
        return measure(site, arguments)


def _undisturbed(site: WatchedSite) -> None:
    with undisturbed():
        subprocess.run(
            ["docker", "rm", "-f", f"{site.name}-tell"], capture_output=True, check=False
        )
        site.remove()


def measure(site: WatchedSite, arguments: argparse.Namespace) -> int:
    """Start, connect, release, and compare."""
    say("build the site and start it")
    site.start()
    said = site.manage("bench_users", str(arguments.users))
    cookies = [line for line in said.splitlines() if line.startswith("sessionid=")]
    show_memory("before", site)
    clients = Clients(site.port, cookies, arguments.sockets, arguments.events)
    began = time.monotonic()
    clients.thread.start()
    until(lambda: clients.tally.connected == len(clients.all), "all clients are connected")
    say(f"{len(clients.all)} clients connected in {time.monotonic() - began:.1f} s")
    teller = site.begin("bench_tell", str(arguments.rate))
    for number in range(1, arguments.releases + 1):
        project.change_one_line(site.source, str(number))
        began = time.monotonic()
        site.start()
        until(lambda: clients.tally.connected == len(clients.all), "all clients are back")
        say(f"release {number}: {time.monotonic() - began:.0f} s; all clients are connected")
    show_memory("after", site)
    run(["docker", "stop", "--time", "60", f"{site.name}-tell"])
    output = teller.communicate()[0]
    if not output.rpartition("\n")[0].rpartition("\n")[2].startswith("sent "):
        raise BenchError(f"the notifications were not written: {output}", "read the lines above")
    sent = int(output.split()[-1])
    until(lambda: clients.missing(sent) == 0, "all clients have everything", fails=False)
    clients.over.set()
    clients.thread.join(PATIENCE)
    return report(clients, sent, arguments)


def report(clients: Clients, sent: int, arguments: argparse.Namespace) -> int:
    """Print what came of it."""
    tally = clients.tally
    missing = clients.missing(sent)
    delays = sorted(tally.delays)
    print(
        f"{arguments.sockets} WebSockets and {arguments.events} server-sent events, "
        f"{arguments.releases} releases, {sent * arguments.users} notifications"
    )
    print(f"received     {tally.items}")
    print(f"came back    {tally.back} times; closed: {words(tally.closed)}")
    print(f"refused      {words(tally.refused) or 'never'}")
    print(
        f"delay        median {delays[len(delays) // 2] * 1000:.0f} ms, "
        f"p99 {delays[len(delays) * 99 // 100]:.2f} s, longest {delays[-1]:.2f} s"
    )
    print(f"gaps {tally.gaps}, duplicates {tally.doubled}, missing at the end {missing}")
    return 0 if not tally.gaps + tally.doubled + missing else 1


def words(counter: Counter[str]) -> str:
    """The counts with their names."""
    return ", ".join(f"{count} x {name}" for name, count in counter.most_common())


def show_memory(title: str, site: WatchedSite) -> None:
    """What the containers hold."""
    live = site.web.replace("web-", "live-")
    names = ("proxy", live, site.web, "db")
    held = {name: engine.memory(engine.container(site.name, name)) for name in names}
    say(f"memory {title}: " + ", ".join(f"{name} {size:.0f} MiB" for name, size in held.items()))


def until(condition: object, what: str, *, fails: bool = True) -> None:
    """Wait for it."""
    deadline = time.monotonic() + PATIENCE
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            if fails:
                raise BenchError(
                    f"after {PATIENCE:.0f} s it still was not so that {what}",
                    "repeat with fewer --sockets, or look into the logs with a clone of your own",
                )
            return
        time.sleep(0.05)


def say(line: str) -> None:
    """Progress."""
    print(line, file=sys.stderr, flush=True)
