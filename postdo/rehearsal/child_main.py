"""Entry point of the worker process: ``python -m postdo.rehearsal.child_main``.

``process.work`` starts it and writes a job as one line of JSON to its standard input. Events go to
what was standard output when the process began, as lines of JSON; everything that migrations print
goes to standard error, so that it cannot be mistaken for an event. When standard input closes, the
parent is gone, nobody needs the result, and the process exits at once.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from postdo.base.errors import PostdoError
from postdo.base.signals import END, Stopped, StopSignals
from postdo.rehearsal.process import Job, job_from
from postdo.rehearsal.trace import Failure

if TYPE_CHECKING:
    from postdo.rehearsal.sandbox import Outside

EXIT_ORPHANED = 1


class Channel:
    """The pipe by which the worker reports to its parent, one JSON object a line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def send(self, kind: str, **values: object) -> None:
        """Send one event: ``begin``, ``end`` or ``result``."""
        self._file.write(json.dumps({"kind": kind, **values}).encode() + b"\n")
        self._file.flush()

    def let_go(self) -> None:
        """Close the pipe in a forked child: only the worker itself reports."""
        _to_nothing(self._file.fileno())


def main() -> None:
    """Read the job, do it, and report how it ended."""
    line, channel = _take_the_pipes()
    stop = StopSignals()
    stop.install()
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        _work(job_from(json.loads(line)), channel, stop)
    except Stopped as stopped:
        END(stopped.exit_code)
    # Threads that the project started may not want to end.
    sys.stdout.flush()
    sys.stderr.flush()
    END(0)


def _take_the_pipes() -> tuple[str, Channel]:
    """Keep both pipes for ourselves, so that no migration can read or write there."""
    source = os.fdopen(os.dup(0), "rb", buffering=0)
    channel = Channel(os.fdopen(os.dup(1), "wb"))
    os.register_at_fork(after_in_child=channel.let_go)
    _to_nothing(0)
    os.dup2(2, 1)
    line = b""
    while not line.endswith(b"\n"):
        piece = source.read(1 << 16)
        if not piece:
            END(EXIT_ORPHANED)
        line += piece
    watched = (source, json.loads(line)["folder"])
    threading.Thread(target=_end_with_the_parent, args=watched, daemon=True).start()
    return line.decode(), channel


def _to_nothing(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, descriptor)
    os.close(nothing)


def _end_with_the_parent(source: Any, folder: str) -> None:
    while source.read(1):
        pass
    shutil.rmtree(folder, ignore_errors=True)  # nobody else is left to do it
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # with what a migration has forked
    END(EXIT_ORPHANED)


def _work(job: Job, channel: Channel, stop: StopSignals) -> None:
    outside: Outside | None = None
    try:
        # Imported here, so that a project without Django's driver is a failure with words.
        from postdo.rehearsal import child, sandbox  # noqa: PLC0415

        outside = sandbox.OUTSIDE
        done = child.work(job, channel.send, stop)
    except Stopped:
        raise
    except BaseException as error:  # noqa: BLE001  also SystemExit, of a settings module
        channel.send("result", failure=asdict(_unexpected(error)), **_seen(outside))
        return
    channel.send("result", **_seen(outside), **done)


def _seen(outside: Outside | None) -> dict[str, Any]:
    """What was tried beyond the database; ``None``: the project could not even be loaded."""
    if outside is None:
        return {"outside": (), "files": ()}
    return {"outside": outside.notes, "files": [asdict(one) for one in outside.files]}


def _unexpected(error: BaseException) -> Failure:
    """What came up beside the migrations: the settings, the connection."""
    what = error.what if isinstance(error, PostdoError) else f"{type(error).__name__}: {error}"
    place = ""
    with suppress(Exception):
        from postdo.base.project import where  # noqa: PLC0415

        place = where(error)
    return Failure("", what.partition("\n")[0], place, "", "", (), single_only=False)


if __name__ == "__main__":
    main()
