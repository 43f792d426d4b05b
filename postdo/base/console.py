"""Plain lines for people: one thought each, marked with the program's name."""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from postdo.base.errors import Misconfigured, PostdoError
from postdo.base.result import Facts

MOST_COLUMNS = 100


@dataclass(frozen=True)
class Console:
    """Where lines go. ``out``: progress and results; ``err``: what went wrong.

    ``facts``: for the result file, if there is to be one.

    Nobody to read a line is no reason to stop half-way, or to call failed what was done: only a
    report that cannot be written is an error.
    """

    out: TextIO
    err: TextIO
    facts: Facts = field(default_factory=Facts)

    @property
    def terminal(self) -> bool:
        """Whether a person looks at it now."""
        return self.out.isatty()

    @property
    def columns(self) -> int:
        """How wide a report may be; more than a hundred is hard to read."""
        return min(shutil.get_terminal_size((MOST_COLUMNS, 24)).columns, MOST_COLUMNS)

    def say(self, text: str) -> None:
        """One line of progress or of result."""
        _put(self.out, f"postdo: {text}\n")

    def tell(self, text: str) -> None:
        """The same, for a line that belongs into every summary of the run, however short."""
        self.say(text)
        self.facts.add("said", text)

    def show(self, report: str) -> None:
        """A report of many lines, as it is. Raises ``Misconfigured`` if it cannot be written."""
        deliver(self.out, f"{report}\n")

    def warn(self, text: str) -> None:
        """One line that someone should read although the work goes on."""
        _put(self.err, f"postdo: warning: {text}\n")
        self.facts.add("warning", text)

    def fail(self, outcome: str, error: PostdoError) -> None:
        """What went wrong (``outcome``: one word for how it ended), and what to do next."""
        lines = [
            f"postdo: {outcome}: {error.what}",
            *(f"postdo:   {line}" for line in error.details),
            f"postdo: next: {error.next_step}",
        ]
        _put(self.err, "\n".join(lines) + "\n")


def deliver(stream: TextIO, text: str) -> None:
    """Write what a command was asked for. Raises ``Misconfigured`` if that is not possible."""
    try:
        _write(stream, text)
    except OSError as error:
        raise Misconfigured(
            f"the report cannot be written: {error.strerror}",
            "write it to a disk with free space, or to a program that reads all of it",
        ) from error


def open_closed() -> None:
    """A stream that the caller has closed is None to Python, and few functions expect that."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  for the whole process


def give_up_unwritten() -> None:
    """What nobody could be told goes nowhere, or Python would end with 120 because of it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _put(stream: TextIO, text: str) -> None:
    with suppress(OSError):
        _write(stream, text)


def _write(stream: TextIO, text: str) -> None:
    """Also what the stream's encoding does not have: a name of the database, in ASCII."""
    try:
        print(text, end="", file=stream, flush=True)
    except UnicodeEncodeError:
        known = text.encode(stream.encoding, "backslashreplace").decode(stream.encoding)
        print(known, end="", file=stream, flush=True)


class Stopwatch:
    """Seconds since it was made; ``str()`` gives them for a message."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s"
