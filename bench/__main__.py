"""The command line: `python3 -m bench`, in the clone."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import approvals, archive, machine, migrations, mutants, security, slow_clients, sockets
from bench.changes import use_test_environment
from bench.process import BenchError, end_on_signals, undisturbed
from bench.story import Options, compare

INTERRUPTED = 130  # as shells say it: 128 + SIGINT
Command = Callable[[list[str]], int]


def main() -> int:
    """Measure and print; 0: done, 1: failed or a loss, 2: wrong usage, 130: interrupted."""
    arguments = sys.argv[1:]
    command: Command = compare_stacks
    if arguments and arguments[0] in COMMANDS:
        command, arguments = COMMANDS[arguments[0]], arguments[1:]
    end_on_signals()
    try:
        return command(arguments)
    except BenchError as failure:
        print(f"error: {failure}\n  next: {failure.remedy}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; everything that was made is removed", file=sys.stderr)
        return INTERRUPTED


def compare_stacks(words: list[str]) -> int:
    """`python3 -m bench` alone."""
    parser = argparse.ArgumentParser(
        prog="python3 -m bench",
        description="Measure this kit's production stack beside a plain tutorial stack "
        "(bench/tutorial/), on the same Django project. Needs Docker and wrk; removes everything "
        "that it makes, but for build caches.",
    )
    parser.add_argument(
        "--rounds", type=positive, default=5, help="rounds of each measurement; default 5"
    )
    parser.add_argument(
        "--seconds", type=positive, default=5, help="seconds of load in each round; default 5"
    )
    parser.add_argument(
        "--migrations",
        type=numbers,
        default=(0, 50, 500),
        help="how many migrations there are on top of Django's and the starter's, one comparison "
        "for each; the first one is measured in full; default 0,50,500",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with every sample")
    arguments = parser.parse_args(words)
    machine.require_tools()
    with scratch_folder() as scratch:
        options = Options(arguments.rounds, arguments.seconds, arguments.migrations)
        report = compare(options, scratch, f"bench-{os.getpid()}")
    print(json.dumps(report.as_json(), indent=2) if arguments.json else report.as_text())
    return 0


def with_visitors(name: str) -> Command:
    """A command that needs httpx, so perhaps the Python of `sh run.sh test`."""

    def main(arguments: list[str]) -> int:
        use_test_environment(name, arguments, "httpx")
        command: Command = importlib.import_module(f"bench.{name.replace('-', '_')}").main
        return command(arguments)

    return main


COMMANDS: dict[str, Command] = {
    "approvals": approvals.main,
    "archive": archive.main,
    "backups": with_visitors("backups"),
    "disk": with_visitors("disk"),
    "latency": with_visitors("latency"),
    "migrations": migrations.main,
    "mutants": mutants.main,
    "proxy": with_visitors("proxy"),
    "releases": with_visitors("releases"),
    "security": security.main,
    "slow": slow_clients.main,
    "sockets": sockets.main,
    "tasks": with_visitors("tasks"),
    "under-fault": with_visitors("under-fault"),
    "watch": with_visitors("watch"),
}


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for the clones, removed at the end."""
    folder = tempfile.mkdtemp(prefix="bench-")
    try:
        yield Path(folder)
    finally:
        with undisturbed():
            shutil.rmtree(folder)


def positive(text: str) -> int:
    """A whole number from 1."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def numbers(text: str) -> tuple[int, ...]:
    """Different whole numbers from 0, with commas between them."""
    values = tuple(int(word) for word in text.split(","))
    if min(values) < 0 or len(set(values)) < len(values):
        raise ValueError
    return values


if __name__ == "__main__":
    sys.exit(main())
