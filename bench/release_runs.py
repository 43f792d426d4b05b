"""The site that is released again and again, and the runs of run.sh that do it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench import engine, project
from bench.process import LONGEST, TAIL, BenchError, end, run
from bench.stacks import Kit
from bench.traffic import Address

HOST = "localhost"  # for this name Caddy is its own certificate authority
AUTHORITY = "/data/caddy/pki/authorities/local/root.crt"
PAUSE = 0.02  # seconds between two looks at what a run has said
STEP = re.compile(r"^(\S.*?) \.\.\. (failed$)?", re.MULTILINE)
COLOUR = re.compile(r" ?\b(blue|green)\b")
FIELDS = "    # More fields come here with releases.\n"
TABLE = "SELECT number, count(*) FROM bench_orders_order WHERE number >= {since} GROUP BY number"

MIGRATION = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("bench_orders", "{before}")]
    operations = [{operation}]
"""


class Run:
    """One run of run.sh, in a session of its own; what it says goes to a file."""

    def __init__(
        self, arguments: tuple[str, ...], folder: Path, environment: dict[str, str], path: Path
    ) -> None:
        """Start it."""
        self.words = " ".join(["sh run.sh", *arguments])
        self.path = path
        self.seconds: dict[str, float] = {}  # of each step that has ended, by name without colour
        self._step, self._begun = "", time.monotonic()
        with path.open("wb") as file:
            self.process = subprocess.Popen(
                ["sh", "run.sh", *arguments],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )

    @property
    def text(self) -> str:
        """What it has said so far."""
        return self.path.read_text(encoding="utf-8", errors="replace")

    @property
    def step(self) -> str:
        """The step that it is in, as it is said without a colour; empty before the first."""
        said = STEP.findall(self.text)
        return COLOUR.sub("", said[-1][0]) if said else ""

    @property
    def failed_in(self) -> str:
        """The step that failed, without its colour."""
        failed = [step for step, failed in STEP.findall(self.text) if failed]
        return COLOUR.sub("", failed[0]) if failed else ""

    def wait(self) -> int:
        """Wait for its end; returns its status."""
        deadline = time.monotonic() + LONGEST
        while self.process.poll() is None:
            self.look()
            if time.monotonic() > deadline:
                raise self.error(f"did not end within {LONGEST:.0f} s")
            time.sleep(PAUSE)
        self.look()
        self._note("")
        return self.process.returncode

    def look(self) -> str:
        """Note how long steps take; returns the present one."""
        step = self.step
        if step != self._step:
            self._note(step)
        return step

    def _note(self, step: str) -> None:
        now = time.monotonic()
        if self._step:
            self.seconds[self._step] = now - self._begun
        self._step, self._begun = step, now

    def kill_in(self, step: str, after: float) -> bool:
        """Kill it and its children by -9, so long after a step has begun. False: it had ended."""
        while self.look() != step:
            if self.process.poll() is not None:
                return False
            time.sleep(PAUSE)
        time.sleep(after)
        self.kill()
        return self.process.wait() == -signal.SIGKILL

    def kill(self) -> None:
        """Kill it and its children by -9, if it runs."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def error(self, what: str) -> BenchError:
        """An error with the last lines that it said."""
        last = "\n".join(f"  | {line}" for line in self.text.splitlines()[-TAIL:])
        return BenchError(f"{self.words} {what}:\n{last}", "read the lines above")

    def remove(self) -> None:
        """Be sure that it does not run any more."""
        if self.process.poll() is None:
            end(self.process)


class ReleasedSite(Kit):
    """This kit with the pages of bench/released/, served by HTTPS for localhost."""

    def __init__(self, name: str, folder: Path, watch_seconds: int) -> None:
        """Make the clone; nothing is started."""
        super().__init__(name, folder, 0, direct=False)
        self.environment |= {
            "DOMAIN": HOST,
            "LC_ALL": "C.UTF-8",
            "PROD_SETTINGS": "bench_released",
            "WATCH_SECONDS": str(watch_seconds),
        }
        shutil.copytree(project.BENCH / "released", self.source, dirs_exist_ok=True)
        self.base = f"https://{HOST}:{self.environment['HTTPS_PORT']}"
        self.transcripts = folder.parent / f"{name}-said"
        self.transcripts.mkdir()
        self.runs: list[Run] = []
        self.revision = "0"

    @property
    def orders(self) -> Path:
        """The folder of the application with the orders."""
        return self.source / "bench_orders"

    # --- What is released ---

    def change_one_line(self) -> None:
        """Other code, which tells its revision."""
        self.revision = str(int(self.revision) + 1)
        project.change_one_line(self.source, self.revision)

    def add_column(self) -> None:
        """A migration: one more column in the table that is written to all the time."""
        count = len(list((self.orders / "migrations").glob("0*.py")))
        definition = "models.TextField(null=True)"
        self.migrate(f'migrations.AddField("order", "extra{count}", {definition})')
        self.replace("models.py", FIELDS, f"    extra{count} = {definition}\n{FIELDS}")

    def migrate(self, operation: str) -> None:
        """A migration with one operation."""
        folder = self.orders / "migrations"
        before = sorted(path.stem for path in folder.glob("0*.py"))
        text = MIGRATION.format(before=before[-1], operation=operation)
        (folder / f"{len(before) + 1:04}_bench.py").write_text(text, encoding="utf-8")

    def replace(self, name: str, old: str, new: str) -> None:
        """Change one place of a file of the application."""
        text = (self.orders / name).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{name} has {old!r} {text.count(old)} times"
        (self.orders / name).write_text(text.replace(old, new), encoding="utf-8")

    @contextmanager
    def put_back(self) -> Iterator[None]:
        """Afterwards the project's files are as they were."""
        kept, revision = self.folder.parent / f"{self.prefix}-kept", self.revision
        shutil.copytree(self.source, kept)
        try:
            yield
        finally:
            shutil.rmtree(self.source)
            kept.rename(self.source)
            self.revision = revision

    # --- Runs ---

    def begin(self, *arguments: str, **environment: str) -> Run:
        """Start `sh run.sh ARGUMENTS`."""
        path = self.transcripts / f"{len(self.runs):03}"
        run_ = Run(arguments, self.folder, {**self.environment, **environment}, path)
        self.runs.append(run_)
        return run_

    def release(self, *arguments: str) -> Run:
        """Release what stands there, and see that it serves."""
        run_ = self.begin(*(arguments or ("-0",)))
        if run_.wait() != 0:
            raise run_.error(f"failed with status {run_.process.returncode}")
        if self.served() != self.revision:
            raise run_.error(f"is done, but revision {self.served()} serves, not {self.revision}")
        return run_

    def moment(self) -> str:
        """What the last run does just now."""
        last = self.runs[-1]
        if last.process.poll() is not None:
            return f"after {last.words} (run {len(self.runs)})"
        return f"in {last.words} (run {len(self.runs)}), {last.step or 'before its first step'}"

    def start(self) -> None:
        """The first start."""
        self.release()

    # --- What is there ---

    def address(self) -> Address:
        """Where visitors find it."""
        proxy = engine.container(self.name, "proxy")
        return Address(self.base, run(["docker", "exec", proxy, "cat", AUTHORITY]))

    def served(self) -> str:
        """The revision that serves."""
        context = ssl.create_default_context(cadata=self.address().authority)
        url = f"{self.base}/bench/revision"
        with urllib.request.urlopen(url, timeout=30, context=context) as answer:  # noqa: S310
            body: bytes = answer.read()
        return body.decode()

    def table(self, since: int) -> dict[int, int]:
        """How often each number is in the table, from that number on."""
        login = ("-U", "postdo", "-d", "postdo")
        words = ["psql", *login, "-qAtF", " ", "-c", TABLE.format(since=since)]
        rows = run(["docker", "exec", engine.container(self.name, "db"), *words])
        return {int(number): int(count) for number, count in map(str.split, rows.splitlines())}

    def remove(self) -> None:
        """Everything, also what still runs."""
        for one in self.runs:
            one.remove()
        super().remove()


@contextmanager
def temporary_site(watch_seconds: int) -> Iterator[ReleasedSite]:
    """A site of this process alone, not yet started; at the end all that it has made is removed."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        site = ReleasedSite(f"bench-{os.getpid()}", Path(folder) / "site", watch_seconds)
        try:
            yield site
        finally:
            site.remove()
