"""Run other programs: the one place that does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

LONGEST = 900.0  # seconds; nothing takes longer than a first build with a slow network
GRACE = 30.0  # seconds that a program gets to take back what it has begun
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TAIL = 25  # lines of a failed program that are shown


class BenchError(Exception):
    """The comparison cannot go on: what is wrong, and what to do next."""

    def __init__(self, what: str, remedy: str) -> None:
        """Keep both halves of the message; `str()` is the first."""
        super().__init__(what)
        self.remedy = remedy


def run(
    argv: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    standard_input: str = "",
) -> str:
    """Run `argv` and return its standard output.

    In a session of its own, so that Ctrl-C reaches this program only, which then ends the other one
    and waits for it: what a killed `docker compose` leaves behind would otherwise come after the
    cleaning.
    Raises `BenchError` with the last lines that the program wrote.
    """
    with subprocess.Popen(
        argv,
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(standard_input, timeout=LONGEST)
        except subprocess.TimeoutExpired as error:
            end(process)
            raise BenchError(
                f"this did not end within {LONGEST:.0f} s: {' '.join(argv)}",
                "run it by hand to see what it waits for",
            ) from error
        except BaseException:
            end(process)
            raise
    if process.returncode != 0:
        last = "\n".join(f"  | {line}" for line in (output + errors).splitlines()[-TAIL:])
        raise BenchError(
            f"this failed with status {process.returncode}: {' '.join(argv)}\n{last}",
            "read the lines above; nothing of the bench is left on the machine",
        )
    return output


def end(process: subprocess.Popen[str]) -> None:
    """End a program and its children: SIGTERM, and SIGKILL if that is not enough."""
    with undisturbed():
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.communicate(timeout=GRACE)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue
            return


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let no Ctrl-C and no SIGTERM interrupt what is in the block: for cleaning up."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_on_signals() -> None:
    """Have SIGTERM and SIGHUP end this program as Ctrl-C does: with everything cleaned up."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in ENDINGS:
        signal.signal(number, interrupt)


def say(progress: str) -> None:
    """Progress, for people: standard output is for the result."""
    print(f"bench: {progress}", file=sys.stderr, flush=True)
