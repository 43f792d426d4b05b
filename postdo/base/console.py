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
    """Prints to people: progress and results to ``out``, errors and warnings to ``err``.

    ``facts`` collects what the result file gets, if one is wanted.

    A line that cannot be written (closed pipe, full disk) is dropped: it is no reason to stop
    half-way or to report finished work as failed. Only a report that somebody asked for must be
    written, so ``show`` raises.
    """

    out: TextIO
    err: TextIO
    facts: Facts = field(default_factory=Facts)

    @property
    def terminal(self) -> bool:
        """Whether ``out`` is a terminal, so that a person is looking."""
        return self.out.isatty()

    @property
    def columns(self) -> int:
        """How many characters wide a report may be: the terminal's width, at most 100."""
        return min(shutil.get_terminal_size((MOST_COLUMNS, 24)).columns, MOST_COLUMNS)

    def say(self, text: str) -> None:
        """Print one line of progress or of result."""
        _put(self.out, f"postdo: {text}\n")

    def tell(self, text: str) -> None:
        """Print a line as ``say`` does, and add it to the facts.

        Every summary of the run has it.
        """
        self.say(text)
        self.facts.add("said", text)

    def show(self, report: str) -> None:
        """Print a report of many lines. Raises ``Misconfigured`` if it cannot be written."""
        deliver(self.out, f"{report}\n")

    def warn(self, text: str) -> None:
        """Print a line that someone should read although the work continues.

        It is added to the facts.
        """
        _put(self.err, f"postdo: warning: {text}\n")
        self.facts.add("warning", text)

    def fail(self, outcome: str, error: PostdoError) -> None:
        """Print what went wrong, its details and the next step.

        ``outcome``: one word for how the command ended, such as ``refused``.
        """
        lines = [
            f"postdo: {outcome}: {error.what}",
            *(f"postdo:   {line}" for line in error.details),
            f"postdo: next: {error.next_step}",
        ]
        _put(self.err, "\n".join(lines) + "\n")


def deliver(stream: TextIO, text: str) -> None:
    """Write the output that a command was asked for. Raises ``Misconfigured`` if that fails."""
    try:
        _write(stream, text)
    except OSError as error:
        raise Misconfigured(
            f"the report cannot be written: {error.strerror}",
            "write it to a disk with free space, or to a program that reads all of it",
        ) from error


def open_closed() -> None:
    """Open ``/dev/null`` for each standard stream that the caller has closed.

    Python sets such a stream to ``None``, and few functions expect that.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  for the whole process


def give_up_unwritten() -> None:
    """Drop buffered output that nobody can receive; otherwise Python would exit with 120."""
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
    """Measures seconds since it was created; ``str()`` gives them for a message."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since it was created, by the monotonic clock."""
        return time.monotonic() - self._started

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s"
