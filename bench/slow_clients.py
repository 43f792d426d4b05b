"""`python3 -m bench slow`: a page, memory and lost requests beside many slow clients."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from bench import engine, load, machine
from bench.process import run, undisturbed
from bench.stacks import Kit

KILOBYTE = 1000
RECEIVE_BUFFER = 4096  # bytes; a reader's own kernel would take megabytes off the server at once
PIECES = 5  # a second
PATIENCE = 120.0  # seconds until all of them are under way, and until they have ended at full speed


@dataclass
class Clients:
    """So many slow uploads and downloads at once, in a thread; at the end they go at full speed.

    address: of the proxy's container, since Docker's program for 127.0.0.1 would buffer megabytes.
    size: bytes of each. rate: bytes a second.
    """

    address: str
    count: int
    size: int
    rate: int
    outcomes: Counter[str] = field(default_factory=Counter)
    hurry: Event = field(default_factory=Event)
    under_way: int = 0

    def start(self) -> Thread:
        """Begin; `hurry` ends it."""
        thread = Thread(target=lambda: asyncio.run(self._all()), daemon=True)
        thread.start()
        return thread

    async def _all(self) -> None:
        kinds = (("upload", self._upload), ("download", self._download))
        tasks = [self._count(kind, one) for kind, one in kinds for _ in range(self.count)]
        await asyncio.gather(*tasks)

    async def _count(self, kind: str, one: object) -> None:
        try:
            outcome = await one()  # type: ignore[operator]
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            outcome = type(error).__name__
        self.outcomes[f"{kind}: {outcome}"] += 1

    async def _pause(self, size: int) -> None:
        if not self.hurry.is_set():
            await asyncio.sleep(size / self.rate)

    async def _ask(self, head: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, (self.address, 80))
        reader, writer = await asyncio.open_connection(sock=client, limit=RECEIVE_BUFFER)
        writer.write(f"{head}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return reader, writer

    async def _upload(self) -> str:
        head = f"POST /bench/upload HTTP/1.1\r\nContent-Length: {self.size}"
        reader, writer = await self._ask(head)
        self.under_way += 1
        left, piece = self.size, self.rate // PIECES
        while left:
            now = min(left, 64 * KILOBYTE if self.hurry.is_set() else piece)
            writer.write(b"x" * now)
            await writer.drain()
            left -= now
            await self._pause(now)
        status = (await reader.readline()).split()[1].decode()
        body = (await reader.read()).rpartition(b"\r\n\r\n")[2]
        writer.close()
        return "whole" if (status, body) == ("200", str(self.size).encode()) else status

    async def _download(self) -> str:
        reader, writer = await self._ask("GET /bench/large HTTP/1.1")
        status = (await reader.readline()).split()[1].decode()
        await reader.readuntil(b"\r\n\r\n")
        self.under_way += 1
        left = self.size
        while left:
            got = len(await reader.read(self.rate // PIECES))
            if not got:
                return "cut"
            left -= got
            await self._pause(got)
        writer.close()
        return "whole" if status == "200" else status


def main(words: list[str]) -> int:
    """Measure and print; 0: done, 1: something failed."""
    parser = argparse.ArgumentParser(prog="python3 -m bench slow", description=__doc__)
    parser.add_argument("--clients", type=int, default=200, help="of each kind; default 200")
    parser.add_argument("--megabytes", type=int, default=5, help="of each; default 5")
    parser.add_argument("--kilobytes", type=int, default=10, help="a second; default 10")
    parser.add_argument("--seconds", type=int, default=30, help="of load on a page; default 30")
    arguments = parser.parse_args(words)
    machine.require_tools()
    with ExitStack() as cleaning:
        scratch = Path(cleaning.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        kit = Kit(f"bench-{os.getpid()}", scratch / "kit", 0)
        views = kit.source / "bench_pages" / "views.py"
        size = f"LARGE = {arguments.megabytes}_000_000"
        views.write_text(views.read_text().replace("LARGE = 5_000_000", size))
        cleaning.callback(lambda: _undisturbed(kit))
        kit.start()
        measure(kit, arguments)
    return 0


def _undisturbed(kit: Kit) -> None:
    with undisturbed():
        kit.remove()


def measure(kit: Kit, arguments: argparse.Namespace) -> None:
    """The same load on a page without the slow clients and beside them."""
    url = kit.urls["kit"]
    clients = Clients(
        address(kit),
        arguments.clients,
        arguments.megabytes * 1000 * KILOBYTE,
        arguments.kilobytes * KILOBYTE,
    )
    load.press(f"{url}/bench/query", 3)
    show("before", kit, load.press(f"{url}/bench/query", arguments.seconds))
    thread = clients.start()
    Event().wait(PATIENCE / 10)
    print(f"slow clients under way: {clients.under_way} of {2 * clients.count}")
    show("beside them", kit, load.press(f"{url}/bench/query", arguments.seconds))
    clients.hurry.set()
    thread.join(PATIENCE)
    for outcome, count in sorted(clients.outcomes.items()):
        print(f"{outcome} {count}")
    unfinished = 2 * clients.count - clients.outcomes.total()
    if unfinished:
        print(f"unfinished {unfinished}")


def address(kit: Kit) -> str:
    """Of the proxy's container."""
    wanted = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return run(
        ["docker", "inspect", "--format", wanted, engine.container(kit.name, "proxy")]
    ).strip()


def show(title: str, kit: Kit, found: load.Load) -> None:
    """One line: the page, and the memory of what serves it."""
    memory = {name: engine.memory(engine.container(kit.name, name)) for name in ("proxy", kit.web)}
    held = ", ".join(f"{name} {size:.0f} MiB" for name, size in memory.items())
    print(f"{title}: {found.rate:.0f}/s, p99 {found.p99 * 1000:.0f} ms; {held}", flush=True)
