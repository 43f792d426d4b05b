"""Start and watch the worker: a separate process in which migrations run on another database.

A process, and not a function call, because migrations are arbitrary code: they may exit, leak
memory, hang, or import models that must not stay loaded. The parent writes one ``Job`` as a line of
JSON to the worker's standard input. The worker answers with lines of JSON on its standard output:
the progress of each migration, and at the end one ``Result``.

The parent enforces the limits of the job: the time (REHEARSE_SECONDS), and the memory, which it
reads from /proc while the worker runs. The standard input stays open as long as the parent lives;
when it closes, the worker ends itself. Killing the worker is always safe, since it only ever
connects to a copy.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from postdo.base.console import Stopwatch
from postdo.base.context import Run
from postdo.base.formatting import MB
from postdo.rehearsal.data_loss import Uncounted
from postdo.rehearsal.display import Display
from postdo.rehearsal.file_changes import FileChange
from postdo.rehearsal.limits import MEMORY, SECONDS
from postdo.rehearsal.trace import Failure, Trace, from_values
from postdo.schema.catalogue import Catalogue, from_json

LOCK_TIMEOUT_MS = 20_000  # nobody else is there, and autovacuum gives way after a second
LOOK_SECONDS = 0.2  # between two looks at the clock and the memory
GRACE_SECONDS = 1.0  # to cancel its statement and end by itself; postdo.base.signals gives us 5
OUTPUT_LINES = 10
OUTPUT_BYTES = 64 * 1024
PIECE_BYTES = 1 << 16


@dataclass(frozen=True)
class Job:
    """What the worker shall do with which database.

    - ``database``: name of the copy. ``port``: of its server, 0 for the project's own.
    - ``mode``: ``transaction`` (all in one, rolled back at the end), ``plain`` (as Django does it,
      kept) or ``expected`` (only ``targets``, kept; sources come from ``archived`` where given).
    - ``targets``: ``(app, name)`` of what is to be applied, ``None`` for all. ``further``: in mode
      ``expected``, sets of which each is tried in addition to ``targets``.
    - ``archived``: source text per ``app.name``, which replaces the file on disk.
    - ``isolated``: no network, mail or files of the site. ``network``: the network is open all the
      same. ``hosts``: what of it is open in any case.
    - ``trace``: whether to look at locks and rows. ``rows``: whether the database holds the real
      rows, so that losses can be counted.
    - ``seconds``, ``memory_mb``: limits; 0 for none.
    - ``folder``: for the files of the site, made by ``work``.
    """

    database: str
    mode: str
    isolated: bool = True
    trace: bool = True
    targets: tuple[tuple[str, str], ...] | None = None
    further: tuple[tuple[tuple[str, str], ...], ...] = ()
    archived: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    memory_mb: int = 0
    network: bool = False
    hosts: tuple[str, ...] = ()
    rows: bool = True
    lock_timeout_ms: int = LOCK_TIMEOUT_MS
    folder: str = ""
    port: int = 0


@dataclass(frozen=True)
class Result:
    """What the worker reports: either a ``trace`` or a ``failure``.

    - ``outside``, ``files``, ``gap``: see ``Rehearsal``.
    - ``further``: the schema of each of the job's further sets, ``None`` for one that failed.
    - ``uncounted``: possible losses, to be counted on data from before the run.
    - ``countable``: those that were counted so, and can be counted again.
    """

    trace: Trace | None
    failure: Failure | None
    outside: tuple[str, ...]
    uncounted: tuple[Uncounted, ...] = ()
    countable: tuple[Uncounted, ...] = ()
    further: tuple[Catalogue | None, ...] = ()
    gap: str = ""
    files: tuple[FileChange, ...] = ()


def job_from(values: Mapping[str, Any]) -> Job:
    """Read the job that ``work`` wrote as JSON."""
    targets = values["targets"]
    return Job(
        **{
            **values,
            "targets": None if targets is None else _names(targets),
            "further": tuple(map(_names, values["further"])),
            "hosts": tuple(values.get("hosts", ())),
            "archived": tuple((name, text) for name, text in values["archived"]),
        }
    )


def _names(values: Iterable[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((app, name) for app, name in values)


def work(run: Run, job: Job) -> Result:
    """Start a worker, print its progress, and wait for its result. A stop signal kills it."""
    with (
        tempfile.TemporaryDirectory(prefix="postdo-", ignore_cleanup_errors=True) as folder,
        _started(replace(job, folder=folder)) as process,
    ):
        return _Watch(run, job, process).result()


@contextmanager
def _started(job: Job) -> Iterator[subprocess.Popen[bytes]]:
    """The process, in a group of its own, which is gone afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "postdo.rehearsal.child_main"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        with suppress(BrokenPipeError):
            pipe = _there(process.stdin)
            pipe.write(json.dumps(asdict(job)).encode() + b"\n")
            pipe.flush()  # and left open: its end tells the worker that we are gone
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # and whatever it started
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        with suppress(BrokenPipeError):
            if pipe is not None:
                pipe.close()


def _there(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("the process was started without this pipe")
    return pipe


class _Watch:
    """Reads what the worker says, and looks at the clock and its memory meanwhile."""

    def __init__(self, run: Run, job: Job, process: subprocess.Popen[bytes]) -> None:
        self._run = run
        self._job = job
        self._process = process
        self._clock = Stopwatch()
        self._display = Display(
            run.console, "rebuilding" if job.mode == "expected" else "rehearsing"
        )
        self._errors: deque[bytes] = deque()
        self._error_bytes = 0
        self._gap = ""

    def result(self) -> Result:
        """What the worker found, or why there is nothing."""
        for event in self._events():
            if event is None:
                over, limit = self._over_budget()
                if over:
                    return self._failed(over, limit)
                self._display.time_passes()
            elif event["kind"] == "result":
                return replace(_result(event), gap=self._gap)
            else:
                self._progress(event)
        return self._failed(_how_it_died(self._process.wait()))

    def _events(self) -> Iterator[dict[str, Any] | None]:
        """Its messages; ``None`` now and then. Ends when it closes its output."""
        output, errors = _there(self._process.stdout), _there(self._process.stderr)
        unread = b""
        looked = Stopwatch()
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            selector.register(errors, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select(LOOK_SECONDS):
                    piece = os.read(key.fd, PIECE_BYTES)
                    if key.fileobj is errors:
                        self._remember(piece)
                        if not piece:
                            selector.unregister(key.fileobj)
                        continue
                    if not piece:
                        self._read_last_words()
                        return
                    *lines, unread = (unread + piece).split(b"\n")
                    yield from (json.loads(line) for line in lines)
                if looked.seconds >= LOOK_SECONDS:
                    looked = Stopwatch()
                    yield None

    def _remember(self, piece: bytes) -> None:
        self._errors.append(piece)
        self._error_bytes += len(piece)
        while self._error_bytes - len(self._errors[0]) > OUTPUT_BYTES:
            self._error_bytes -= len(self._errors.popleft())

    def _read_last_words(self) -> None:
        """What it still wrote before it died; not more than there is now."""
        errors = _there(self._process.stderr).fileno()
        os.set_blocking(errors, False)
        with suppress(BlockingIOError):
            while piece := os.read(errors, PIECE_BYTES):
                self._remember(piece)

    def _over_budget(self) -> tuple[str, str]:
        """What there was too much of, in words, and which limit it is; empty if there was not."""
        if self._job.seconds and self._clock.seconds > self._job.seconds:
            seconds = f"{self._job.seconds:.0f} s"
            return f"stopped after {seconds}, the limit of REHEARSE_SECONDS", SECONDS
        used = _memory_mb(self._process.pid)
        if self._job.memory_mb and used > self._job.memory_mb:
            most = self._job.memory_mb
            return (
                f"stopped at {used} MB of memory, but REHEARSE_MEMORY_MB allows {most} MB",
                MEMORY,
            )
        return "", ""

    def _progress(self, event: Mapping[str, Any]) -> None:
        if event["kind"] == "planned":
            self._display.planned(event["count"])
        elif event["kind"] == "guarded":
            self._gap = event["gap"]
        elif event["kind"] == "begin":
            self._display.begins(event["migration"])
        else:
            self._display.ended()

    def _failed(self, what: str, limit: str = "") -> Result:
        lines = b"".join(self._errors).decode(errors="replace").splitlines()
        output = tuple(line for line in lines if line.strip())[-OUTPUT_LINES:]
        failure = Failure(
            self._display.running,
            what,
            "",
            "",
            "",
            (),
            single_only=False,
            output=output,
            limit=limit,
        )
        return Result(None, failure, ())


def _result(event: Mapping[str, Any]) -> Result:
    failure, trace = event.get("failure"), event.get("trace")
    return Result(
        trace=from_values(trace) if trace else None,
        failure=Failure(
            **{**failure, "rows": tuple(failure["rows"]), "output": tuple(failure["output"])}
        )
        if failure
        else None,
        outside=tuple(event["outside"]),
        files=tuple(
            FileChange(one["folder"], one["verb"], tuple(one["names"])) for one in event["files"]
        ),
        uncounted=tuple(Uncounted(**one) for one in event.get("uncounted", ())),
        countable=tuple(Uncounted(**one) for one in event.get("countable", ())),
        further=tuple(text and from_json(text) for text in event.get("further", ())),
    )


def _how_it_died(code: int) -> str:
    if code >= 0:
        return f"the rehearsal's process ended without a result (exit code {code})"
    name = signal.Signals(-code).name
    cause = ": the machine may be out of memory" if -code == signal.SIGKILL else ""
    return f"the rehearsal's process was killed by {name}{cause}"


def _memory_mb(pid: int) -> int:
    """What a process has in memory now; 0 where there is no /proc."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // MB
