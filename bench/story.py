"""The comparison from start to end: what is measured, in which order."""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import engine, load, machine, project
from bench.probe import Watch
from bench.process import BenchError, run
from bench.report import Report, Row
from bench.stacks import Kit, Stack, Tutorial

BASE_IMAGE = "python:3.13-slim"  # of both Dockerfiles
PATIENCE = 180.0  # seconds until a site that has not answered never will
PAGES = {"plain": "page without a query", "query": "page with a query"}
SETUP = [["python", "-c", "import django; django.setup()"]]

Samples = defaultdict[str, list[float]]


@dataclass(frozen=True)
class Options:
    """What was asked for.

    rounds: of everything. seconds: of load in each round. migrations: of each comparison.
    """

    rounds: int
    seconds: int
    migrations: tuple[int, ...]


def compare(options: Options, scratch: Path, name: str) -> Report:
    """Measure everything, in folders below `scratch`; Compose projects are named like `name`-kit-0.

    What runs is removed when it has been measured, and also when something fails.
    """
    report = Report(machine.facts(), options.rounds, options.seconds)
    for migrations in options.migrations:
        with ExitStack() as cleaning:
            stacks = start_both(migrations, scratch, name, cleaning)
            report.rows += starts(stacks, options.rounds, migrations)
            report.rows += preparations(stacks, options.rounds, migrations)
            if migrations == options.migrations[0]:
                for stack in stacks:
                    report.facts[f"in {stack.title}"] = machine.versions(gunicorn(stack))
                report.rows += requests(stacks, options)
                report.rows += memories(stacks, options.rounds)
                report.rows.append(sizes(stacks))
                report.rows += changes(stacks, options.rounds)
    return report


def start_both(
    migrations: int, scratch: Path, name: str, cleaning: ExitStack
) -> tuple[Stack, Stack]:
    """Start both stacks and wait until they serve; hand their removal to `cleaning`."""
    tutorial = Tutorial(
        f"{name}-tutorial-{migrations}", scratch / f"tutorial-{migrations}", migrations
    )
    kit = Kit(f"{name}-kit-{migrations}", scratch / f"kit-{migrations}", migrations)
    for stack in (tutorial, kit):
        say(f"{stack.title}: build and start it, {migrations} migrations")
        cleaning.callback(stack.remove)
        stack.start()
        for url in stack.urls.values():
            arrival(stack, Watch(f"{url}/bench/query"))
    return tutorial, kit


def starts(stacks: tuple[Stack, Stack], rounds: int, migrations: int) -> list[Row]:
    """Seconds from `docker start` of a new container to the first 200, the database being warm."""
    samples = Samples(list)
    for number in range(rounds):
        for stack in stacks:
            turn = f"{number + 1} of {rounds}"
            say(f"{stack.title}: start to first 200, {migrations} migrations, {turn}")
            for column, seconds in start_afresh(stack).items():
                samples[column].append(seconds)
    return [
        Row(f"start/{migrations}", f"start to first 200, {migrations} migrations", "s", samples)
    ]


def start_afresh(stack: Stack) -> dict[str, float]:
    """Start a new container of the site; return the seconds until it answers, by column."""
    container = stack.new_container()
    begin = time.perf_counter()
    watches = {column: Watch(f"{url}/bench/plain") for column, url in stack.urls.items()}
    run(["docker", "start", container])
    return {column: arrival(stack, watch) - begin for column, watch in watches.items()}


def preparations(stacks: tuple[Stack, Stack], rounds: int, migrations: int) -> list[Row]:
    """Seconds in the container before Gunicorn, and those that Django alone takes to set up."""
    prepare, bare = Samples(list), Samples(list)
    for number in range(rounds + 1):
        turn = f"{number} of {rounds}" if number else "to warm up"
        for stack in stacks:
            say(f"{stack.title}: preparation alone, {migrations} migrations, {turn}")
            seconds = timed_inside(stack, {"prepare": stack.preparation, "bare": SETUP})
            if number:
                prepare[stack.column].append(seconds["prepare"])
                bare[stack.column].append(seconds["bare"])
    return [
        Row(f"prepare/{migrations}", f"entrypoint, {migrations} migrations", "s", prepare),
        Row(f"setup/{migrations}", "  python and django.setup() alone", "s", bare),
    ]


def timed_inside(stack: Stack, named: dict[str, list[list[str]]]) -> dict[str, float]:
    """Run commands in the site's container; return the seconds by name, without those of Docker."""
    script = (project.BENCH / "inside.py").read_text(encoding="utf-8")
    argv = ["docker", "exec", "--interactive", gunicorn(stack), "python", "-", json.dumps(named)]
    seconds: dict[str, float] = json.loads(run(argv, standard_input=script))
    return seconds


def requests(stacks: tuple[Stack, Stack], options: Options) -> list[Row]:
    """Requests per second and 99th percentile of both pages; the targets take turns."""
    urls = {column: url for stack in stacks for column, url in stack.urls.items()}
    rate: dict[str, Samples] = {page: Samples(list) for page in PAGES}
    p99: dict[str, Samples] = {page: Samples(list) for page in PAGES}
    for number in range(options.rounds + 1):
        for page, title in PAGES.items():
            say(f"load, {title}, " + (f"{number} of {options.rounds}" if number else "to warm up"))
            for column, url in urls.items():
                measured = load.press(f"{url}/bench/{page}", options.seconds if number else 1)
                if number:
                    rate[page][column].append(measured.rate)
                    p99[page][column].append(measured.p99 * 1000)
    rows = []
    for page, title in PAGES.items():
        rows.append(Row(f"{page}/rate", title, "/s", rate[page], more_is_better=True))
        rows.append(Row(f"{page}/p99", "  99th percentile", "ms", p99[page]))
    return rows


def memories(stacks: tuple[Stack, Stack], rounds: int) -> list[Row]:
    """Memory of a site that was started, has answered for a second, and is idle."""
    web, database, whole = Samples(list), Samples(list), Samples(list)
    for number in range(rounds):
        for stack in stacks:
            say(f"{stack.title}: idle memory, {number + 1} of {rounds}")
            start_afresh(stack)
            load.press(f"{stack.urls[stack.column]}/bench/query", 1)
            used = {service: memory_of(stack, service) for service in stack.services}
            web[stack.column].append(used[stack.web])
            database[stack.column].append(used["db"])
            whole[stack.column].append(sum(used.values()))
    return [
        Row("memory/web", "idle memory, Gunicorn", "MiB", web),
        Row("memory/db", "  the database alone", "MiB", database),
        Row("memory/stack", "  with database and proxy", "MiB", whole),
    ]


def memory_of(stack: Stack, service: str) -> float:
    """In MiB."""
    return engine.memory(engine.container(stack.name, service))


def sizes(stacks: tuple[Stack, Stack]) -> Row:
    """What the image adds to the Python image that both are made from."""
    base = engine.image_size(BASE_IMAGE)
    added = {stack.column: [engine.image_size(stack.tags[0]) - base] for stack in stacks}
    return Row("image", "image size over the base", "MiB", added)


def changes(stacks: tuple[Stack, Stack], rounds: int) -> list[Row]:
    """Seconds after a one-line change: to build the image, and (another one) until it is served."""
    build, serve = Samples(list), Samples(list)
    for number in range(rounds):
        for stack in stacks:
            say(f"{stack.title}: one-line change, {number + 1} of {rounds}")
            project.change_one_line(stack.source, unseen())
            begin = time.perf_counter()
            stack.build()
            build[stack.column].append(time.perf_counter() - begin)

            revision = unseen()
            project.change_one_line(stack.source, revision)
            begin = time.perf_counter()
            watch = Watch(f"{stack.urls[stack.column]}/bench/plain", revision)
            stack.deploy()
            serve[stack.column].append(arrival(stack, watch) - begin)
    return [
        Row("rebuild", "one-line change: rebuild", "s", build),
        Row("redeploy", "  build, start, first answer", "s", serve),
    ]


def unseen() -> str:
    """A revision that no run before had: a build of the same source would be found in the cache."""
    return str(time.time_ns())


def arrival(stack: Stack, watch: Watch) -> float:
    """When it was there; else the failure with what the site said last."""
    try:
        return watch.wait(PATIENCE)
    except BenchError as error:
        lines = "".join(f"\n  | {line}" for line in stack.last_lines().splitlines())
        raise BenchError(f"{error}; the site's last lines:{lines}", error.remedy) from error


def gunicorn(stack: Stack) -> str:
    """The id of the container that serves the site."""
    return engine.container(stack.name, stack.web)


def say(progress: str) -> None:
    """Progress, for people: standard output is for the result."""
    print(f"bench: {progress}", file=sys.stderr, flush=True)
