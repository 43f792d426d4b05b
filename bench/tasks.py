"""`python3 -m bench tasks`: is a task lost while workers and Redis are killed and releases go on?

Tasks that write their number to a table are sent all the time. A number counts as acknowledged when
`enqueue()` has returned. At the end each of them has to be in the table; more than once only if
a kill came while it ran, was about to be acknowledged, or was being sent.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from bench import engine, machine, project, reliability
from bench.process import BenchError, run, say, undisturbed
from bench.release_runs import Run
from bench.stacks import Kit, free_ports, own_environment

QUEUED = Path(__file__).resolve().parent / "queued"
VERSIONS = ("first", "second")  # images that are released in turn
WORKER, CHILD, REDIS, BEAT = "worker", "child", "Redis", "beat"
SHARES = {CHILD: 10, WORKER: 6, REDIS: 3, BEAT: 1}  # of the kills
SETTLES = 12.0  # seconds between two kills of a container: Docker waits longer if it ran < 10 s
SLACK = 1.0  # seconds in which a task that has ended is acknowledged
CHUNK = 250  # tasks that are sent at once
BACKLOG = 1000  # tasks that wait, at most
PAUSE = 1.0  # seconds between two looks, which cost a process each
PATIENCE = 120.0  # seconds without any progress
BACK_WITHIN = 30.0  # seconds after a restart of Redis
# What `docker exec` runs in a container whose first process is Docker's init: kills its child, or
# one child of that, by chance; prints whom.
KILL = """
children() {
    for stat in /proc/[0-9]*/stat; do
        read -r pid _ _ parent _ <"$stat" && [ "$parent" = "$1" ] && echo "$pid"
    done 2>/dev/null
}
found=$(children 1)
[ "$1" = main ] || found=$(for main in $found; do children "$main"; done | shuf -n 1)
[ -n "$found" ] && echo "$found" && kill -9 $found
"""
COLUMNS = ("killed by -9", "times", "tasks done twice")
NOTE = """\
Tasks that write their number to a table are sent through `enqueue()`, while what works on them is
killed and the site is released. *worker*: Celery's main process. *child*: one that runs tasks.
*Redis*: its container, which is started again at once. A task is lost if `enqueue()` returned and
its number is not in the table. A second run is explained if a kill came while the first one ran, up
to a second after it, or, of Redis, while it was being sent.
"""


# --- What came of it ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kill:
    """What was killed, and from when to when that disturbed; in seconds since 1970."""

    what: str
    began: float
    ended: float

    def touches(self, began: float, ended: float) -> bool:
        """Whether something that went on at that time was disturbed."""
        return self.began <= ended and began <= self.ended


@dataclass(frozen=True)
class Counted:
    """Numbers that are lost; kinds of kills to the numbers done twice by them; the others."""

    lost: list[int]
    explained: dict[str, list[int]]
    unexplained: list[int]

    @property
    def doubled(self) -> int:
        """How many tasks were done more than once."""
        return sum(map(len, self.explained.values())) + len(self.unexplained)


def compare(
    sent: Mapping[int, tuple[float, float]],
    runs: Iterable[tuple[int, float, float]],
    kills: Sequence[Kill],
) -> Counted:
    """What was acknowledged (number to when) beside the runs (number, began, ended)."""
    of_number: dict[int, list[tuple[float, float]]] = {}
    for number, began, ended in runs:
        of_number.setdefault(number, []).append((began, ended))
    counted = Counted([number for number in sent if number not in of_number], {}, [])
    for number, spans in sorted(of_number.items()):
        reasons = [reason(kills, span, sent.get(number)) for span in sorted(spans)[:-1]]
        if None in reasons:
            counted.unexplained.append(number)
        elif reasons:
            counted.explained.setdefault(str(reasons[0]), []).append(number)
    return counted


def reason(
    kills: Sequence[Kill], run_: tuple[float, float], sent: tuple[float, float] | None
) -> str | None:
    """What was killed, so that this run was not the last; None: nothing that explains it."""
    for kill in kills:
        if kill.touches(run_[0], run_[1] + SLACK):
            return kill.what
        if kill.what == REDIS and sent and kill.touches(*sent):
            return kill.what
    return None


@dataclass(frozen=True)
class Ticks:
    """What beat sent: how many, how many too early, and the longest pause in intervals."""

    count: int
    doubled: int
    longest: float

    @property
    def is_right(self) -> bool:
        """None was sent twice, and none was missed for longer than its interval."""
        return not self.doubled and self.longest <= 2  # noqa: PLR2004


def ticks_of(sent: Iterable[tuple[float, float]]) -> Ticks:
    """Of the ticks (seconds between two of the same entry, when it was sent)."""
    of_entry: dict[float, list[float]] = {}
    for every, when in sent:
        of_entry.setdefault(every, []).append(when)
    pauses = [
        (after - before) / every
        for every, times in of_entry.items()
        for before, after in itertools.pairwise(sorted(times))
    ]
    doubled = sum(pause < 1 / 2 for pause in pauses)
    return Ticks(sum(map(len, of_entry.values())), doubled, max(pauses, default=0.0))


@dataclass
class Outcome:
    """All of it. restarts: of Redis, the seconds until the next task was done after each."""

    kills: list[Kill] = field(default_factory=list)
    releases: int = 0
    sent: int = 0
    seconds: float = 0.0
    counted: Counted = field(default_factory=lambda: Counted([], {}, []))
    restarts: list[float] = field(default_factory=list)
    ticks: Ticks = field(default_factory=lambda: Ticks(0, 0, 0.0))
    released: list[tuple[float, float]] = field(default_factory=list)  # from when to when
    around: dict[int, str] = field(default_factory=dict)  # what happened when one was done twice

    @property
    def is_right(self) -> bool:
        """Nothing was lost, and all the rest is as promised."""
        return (
            not self.counted.lost
            and not self.counted.unexplained
            and all(seconds < BACK_WITHIN for seconds in self.restarts)
            and self.ticks.is_right
        )

    def verdict(self) -> str:
        """In a sentence."""
        return (
            f"Of {self.sent:,} acknowledged tasks {len(self.counted.lost)} are lost, under "
            f"{len(self.kills)} kills and {self.releases} releases; {self.counted.doubled} were "
            f"done twice, {len(self.counted.unexplained)} of them without a kill that explains it."
        )

    def table(self) -> str:
        """In Markdown."""
        times = Counter(kill.what for kill in self.kills)
        rows = [
            [what, f"{times[what]:,}", f"{len(self.counted.explained.get(what, [])):,}"]
            for what in SHARES
            if times[what]
        ]
        return reliability.table(COLUMNS, rows)

    def facts(self) -> dict[str, str]:
        """What the table does not say."""
        found = {"tasks per second": f"{self.sent / max(self.seconds, 1):.0f}"}
        if self.restarts:
            found["plain restarts of Redis"] = (
                f"{len(self.restarts)}; a task sent after it was done within "
                f"{max(self.restarts):.1f} s"
            )
        if self.ticks.count:
            found["beat, twenty entries, every 12 to 18 s"] = (
                f"{self.ticks.count:,} ticks, {self.ticks.doubled} doubled, "
                f"longest pause {self.ticks.longest:.1f} intervals"
            )
        return found


# --- The site -------------------------------------------------------------------------------------


class QueuedSite(Kit):
    """This kit with the part `tasks`, and tasks that note that they ran."""

    def __init__(self, name: str, folder: Path) -> None:
        """Make the clone; nothing is started."""
        super().__init__(name, folder, 0, direct=False)
        self.environment |= {
            "COMPOSE_PROFILES": "tasks",
            "PROD_SETTINGS": "bench_queued_settings",
            "FLOWER_PORT": str(free_ports(1)[0]),
            "LC_ALL": "C.UTF-8",
        }
        shutil.copytree(QUEUED, self.source, dirs_exist_ok=True)
        self.transcripts = folder.parent / "said"
        self.transcripts.mkdir()
        self.releases: list[Run] = []

    @property
    def sender(self) -> str:
        """The name of the container that sends."""
        return f"{self.name}-send"

    def image(self, version: str) -> str:
        """The name of an image."""
        return f"{self.prefix}-web:{version}"

    def prepare(self) -> None:
        """Start it, and build the version that is released after this one."""
        self.start()
        run(["docker", "tag", self.image("next"), self.image(VERSIONS[0])])
        project.change_one_line(self.source, "2")
        self.compose("build", "web")
        run(["docker", "tag", self.image("next"), self.image(VERSIONS[1])])

    def begin_release(self) -> Run:
        """Release the version that does not serve."""
        version = VERSIONS[(len(self.releases) + 1) % len(VERSIONS)]
        environment = {**self.environment, "IMAGE": self.image(version)}
        path = self.transcripts / f"{len(self.releases):03}"
        self.releases.append(Run(("-0",), self.folder, environment, path))
        return self.releases[-1]

    @property
    def worker(self) -> str:
        """The worker that belongs to the version that serves."""
        live = self.folder / ".postdo" / "live" / self.environment["PROJECT_NAME"] / "upstream"
        return live.read_text(encoding="utf-8").strip().replace("web-", "worker-")

    def kill(self, what: str) -> Kill | None:
        """Kill it by -9; None if it does not run just now."""
        began = time.time()
        if what == REDIS:
            redis = engine.container(self.name, "redis")
            run(["docker", "kill", redis])
            run(["docker", "start", redis])
            self.until_redis_answers()
        else:
            container = engine.container(self.name, BEAT if what == BEAT else self.worker)
            whom = CHILD if what == CHILD else "main"
            said = subprocess.run(
                ["docker", "exec", container, "sh", "-c", KILL, "kill", whom],
                capture_output=True,
                text=True,
                check=False,
            )
            if not said.stdout.strip():
                return None
        return Kill(what, began, time.time())

    def until_redis_answers(self) -> None:
        """Wait for it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(BenchError):
                if self.redis("ping").strip() == "PONG":
                    return
            time.sleep(0.1)
        raise BenchError("Redis does not answer after a kill", "look at its log")

    def redis(self, *words: str) -> str:
        """Ask Redis."""
        return run(["docker", "exec", engine.container(self.name, "redis"), "redis-cli", *words])

    def rows(self, query: str) -> list[list[str]]:
        """Ask PostgreSQL."""
        login = ("-U", "postdo", "-d", "postdo")
        words = ["psql", *login, "-qAtF", " ", "-c", query]
        said = run(["docker", "exec", engine.container(self.name, "db"), *words])
        return [line.split() for line in said.splitlines()]

    def done(self) -> int:
        """How many runs there were."""
        return int(self.rows("SELECT count(*) FROM bench_queued_work")[0][0])

    def waiting(self) -> int:
        """How many tasks Redis has, in the queue and with workers."""
        keys = [f"unacked_index.{colour}" for colour in ("blue", "green")]
        counts = [self.redis("llen", "default"), *(self.redis("zcard", key) for key in keys)]
        return sum(map(int, counts))

    def remove(self) -> None:
        """Everything, also what still runs."""
        for one in self.releases:
            one.remove()
        with undisturbed():
            subprocess.run(["docker", "rm", "-f", self.sender], capture_output=True, check=False)
        super().remove()


class Sender:
    """`manage.py bench_send` in a container of its own, beside the releases."""

    def __init__(self, site: QueuedSite) -> None:
        """Start it."""
        self.path = site.transcripts / "sent"
        self.commanded = 0
        facts = json.loads(run(["docker", "inspect", engine.container(site.name, site.web)]))[0]
        variables = [part for value in facts["Config"]["Env"] for part in ("--env", value)]
        argv = ["docker", "run", "--rm", "--interactive", "--name", site.sender]
        network = ["--network", f"{site.name}_backend"]
        entry = ["--entrypoint", "python", facts["Image"], "manage.py", "bench_send"]
        with self.path.open("wb") as file, self.path.with_suffix(".errors").open("wb") as errors:
            self.process = subprocess.Popen(
                [*argv, *network, *variables, *entry],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=errors,
                text=True,
                env=own_environment(),
            )

    def command(self, word: str, count: int = 1) -> int:
        """Have that many more sent; returns the first number."""
        self.check()
        first = self.commanded
        assert self.process.stdin
        self.process.stdin.write(f"{word} {first} {count}\n")
        self.process.stdin.flush()
        self.commanded += count
        return first

    def check(self) -> None:
        """Raise `BenchError` if it has ended."""
        if self.process.poll() is not None:
            said = self.path.with_suffix(".errors").read_text(encoding="utf-8")[-2000:]
            raise BenchError(f"the program that sends has ended: {said}", "read the lines above")

    def seconds_to_run(self, since: float) -> float:
        """Send one, and wait until it has run."""
        number = self.command("await")
        while number not in (sent := self.sent()):
            self.check()
            time.sleep(0.1)
        return sent[number][1] - since if sent[number][1] else PATIENCE

    def sent(self) -> dict[int, tuple[float, float]]:
        """Number to when it was accepted, of those that were."""
        lines = [line.split() for line in self.path.read_text(encoding="utf-8").splitlines()]
        return {
            int(words[0]): (float(words[1]), float(words[2]))
            for words in lines
            if len(words) == 3 and words[0].isdigit()  # noqa: PLR2004
        }


# --- The story ------------------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    """Measure and print; 0: nothing was lost, 1: something was, or is not as promised."""
    options = read(arguments)
    machine.require_engine()
    facts = {
        "command": f"`python3 -m bench tasks {' '.join(arguments)}`".replace(
            " --write", ""
        ).replace(" `", "`"),
        **machine.facts_of_release(0),
        "settings": "those of `.env.example`, with `COMPOSE_PROFILES=tasks`",
    }
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ExitStack() as cleaning:
        site = QueuedSite(f"bench-{os.getpid()}", Path(folder) / "site")
        cleaning.callback(site.remove)
        say("build the site and start it")
        site.prepare()
        outcome = Story(site, Sender(site), options).run()
    for number in outcome.counted.lost:
        say(f"lost: {number}")
    for number in outcome.counted.unexplained:
        say(f"done twice, and no kill explains it: {number}; {outcome.around[number]}")
    if options.write:
        write(outcome, facts)
    print(outcome.table())
    print(reliability.listed(outcome.facts()))
    print(outcome.verdict())
    return 0 if outcome.is_right else 1


def read(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python3 -m bench tasks",
        description="Send tasks, kill what works on them, release, and count what is lost. Needs "
        "Docker and the environment of `sh run.sh test`; removes everything that it makes, but "
        "for build caches.",
    )
    add = parser.add_argument
    add("--tasks", type=int, default=5000, help="at least; default 5000")
    add("--kills", type=int, default=20, help="of workers, children, Redis, beat; default 20")
    add("--releases", type=int, default=2, help="meanwhile; default 2")
    add("--redis-restarts", type=int, default=3, help="afterwards; default 3")
    add("--ticks", type=int, default=0, help="of beat, at least; default: those that come")
    add("--minutes", type=float, default=600, help="send no more after that; default: no limit")
    add("--write", action="store_true", help="write the table to docs/reliability.md")
    return parser.parse_args(arguments)


class Story:
    """The kills, one after the other, on one site."""

    def __init__(self, site: QueuedSite, sender: Sender, options: argparse.Namespace) -> None:
        """Nothing has been sent."""
        self.site = site
        self.sender = sender
        self.options = options
        self.outcome = Outcome()
        self.released: Run | None = None  # the release that runs
        self.release_began = 0.0  # in seconds since 1970
        self.container_killed = 0.0  # when a container ended last, by the monotonic clock

    def run(self) -> Outcome:
        """Send and kill; then restart Redis; then compare."""
        began = time.monotonic()
        self.send_and_kill(began + 60 * self.options.minutes)
        self.until_drained()
        self.outcome.seconds = time.monotonic() - began
        self.restart_redis()
        self.await_ticks()
        self.count()
        return self.outcome

    def send_and_kill(self, deadline: float) -> None:
        """Keep the queue filled until all have run; kill and release in between."""
        kill_every = self.options.tasks / (self.options.kills + 1)
        release_every = self.options.tasks / (self.options.releases + 1)
        next_kill, done = kill_every, 0
        progressed = time.monotonic()
        while done < self.options.tasks and time.monotonic() < deadline:
            while (
                self.sender.commanded < self.options.tasks
                and self.sender.commanded - done < BACKLOG
            ):
                self.sender.command("send", min(CHUNK, self.options.tasks - self.sender.commanded))
            time.sleep(PAUSE * random.random())  # noqa: S311 - no secret
            before, done = done, self.site.done()
            if done > before:
                progressed = time.monotonic()
            elif time.monotonic() - progressed > PATIENCE:
                say(f"no task has run for {PATIENCE:.0f} s: {self.site.waiting()} are in Redis")
                return
            if done >= next_kill and len(self.outcome.kills) < self.options.kills and self.kill():
                next_kill += kill_every
            if done >= release_every * (self.outcome.releases + 1):
                self.release()
        while self.released:
            time.sleep(PAUSE)
            self.release_ended()

    def kill(self) -> bool:
        """Kill something by chance; False if there was nothing to kill."""
        self.release_ended()
        settled = time.monotonic() - self.container_killed > SETTLES
        kinds = [what for what in SHARES if what == CHILD or (settled and not self.released)]
        what = random.choices(kinds, [SHARES[kind] for kind in kinds])[0]  # noqa: S311
        try:
            kill = self.site.kill(what)
        except BenchError:
            if not self.released:  # which exchanges containers
                raise
            return False
        if kill is None:
            return False
        self.outcome.kills.append(kill)
        if what in (WORKER, BEAT):
            self.container_killed = time.monotonic()
        say(f"kill {len(self.outcome.kills)}: {what}")
        return True

    def release(self) -> None:
        """Begin one, if none runs and one is left."""
        self.release_ended()
        if self.released or self.outcome.releases >= self.options.releases:
            return
        self.outcome.releases += 1
        say(f"release {self.outcome.releases}")
        self.released = self.site.begin_release()
        self.release_began = time.time()

    def release_ended(self) -> None:
        """Look whether it has, and well."""
        if self.released and self.released.process.poll() is not None:
            ended, self.released = self.released, None
            self.outcome.released.append((self.release_began, time.time()))
            if ended.wait() != 0:
                raise ended.error(f"failed with status {ended.process.returncode}")

    def until_drained(self) -> None:
        """Wait until nothing is left to do: all is accepted, and Redis has no task."""
        last, progressed = -1, time.monotonic()
        while len(self.sender.sent()) < self.sender.commanded or self.site.waiting():
            done = self.site.done()
            if done != last:
                last, progressed = done, time.monotonic()
            if time.monotonic() - progressed > PATIENCE:
                say(f"{self.site.waiting()} tasks stay in Redis, and none has run for a while")
                return
            time.sleep(PAUSE)

    def restart_redis(self) -> None:
        """As often as was asked for; after each, how long it takes until a task is done."""
        for turn in range(1, self.options.redis_restarts + 1):
            run(["docker", "restart", engine.container(self.site.name, "redis")])
            seconds = self.sender.seconds_to_run(time.time())
            self.outcome.restarts.append(seconds)
            say(f"restart {turn} of Redis: a task was done {seconds:.1f} s after it")

    def await_ticks(self) -> None:
        """As many as were asked for."""
        last, progressed = 0, time.monotonic()
        while (found := len(self.ticks())) < self.options.ticks:
            if found > last:
                last, progressed = found, time.monotonic()
            elif time.monotonic() - progressed > PATIENCE:
                return
            time.sleep(PAUSE)

    def ticks(self) -> list[tuple[float, float]]:
        """What has come from beat; a task that ran twice is one."""
        return [(float(every), float(sent)) for every, sent in self.site.rows(TICKS)]

    def count(self) -> None:
        """Compare what was acknowledged with what has run."""
        sent = self.sender.sent()
        runs = [(int(row[0]), float(row[1]), float(row[2])) for row in self.site.rows(RUNS)]
        self.outcome.sent = len(sent)
        self.outcome.counted = compare(sent, runs, self.outcome.kills)
        self.outcome.ticks = ticks_of(self.ticks())
        self.outcome.around = {
            number: self.around(sent[number], [run_[1:] for run_ in runs if run_[0] == number])
            for number in self.outcome.counted.unexplained
            if number in sent
        }

    def around(self, sent: tuple[float, float], runs: list[tuple[float, float]]) -> str:
        """In words: when it was sent and run, and the kills and releases beside that."""
        first, last = sent[0] - 60, max(ended for _, ended in runs) + 60
        kills = [kill for kill in self.outcome.kills if kill.touches(first, last)]
        said = [f"sent {clock(sent)}", *(f"ran {clock(span)}" for span in sorted(runs))]
        said += [f"{kill.what} killed {clock((kill.began, kill.ended))}" for kill in kills]
        said += [
            f"released {clock(span)}"
            for span in self.outcome.released
            if span[0] <= last and first <= span[1]
        ]
        return ", ".join(said)


def clock(span: tuple[float, float]) -> str:
    """From when to when, as the logs of the containers have it."""
    return "-".join(
        f"{datetime.fromtimestamp(moment, timezone.utc):%H:%M:%S.%f}"[:-3] for moment in span
    )


RUNS = "SELECT number, began, ended FROM bench_queued_work"
TICKS = "SELECT DISTINCT ON (task) every, sent FROM bench_queued_tick ORDER BY task"


def write(outcome: Outcome, facts: Mapping[str, str]) -> None:
    """Into docs/reliability.md."""
    section = reliability.SECTION.format(
        heading=reliability.TASKS,
        note=NOTE.strip(),
        verdict=outcome.verdict(),
        table=outcome.table(),
        facts=reliability.listed({**facts, **outcome.facts()}),
    )
    reliability.write(
        reliability.with_sections(reliability.written(), {reliability.TASKS: section})
    )
