"""A run of run.sh: at work, and how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from results import Result

from .waiting import eventually

PATIENCE = 420.0  # seconds for one run of run.sh: a first build may have to install everything


@dataclass(frozen=True)
class TimedResult(Result):
    """The same, with the seconds that it took."""

    seconds: float

    def __str__(self) -> str:
        return f"{super().__str__()}\n--- after {self.seconds:.0f} s"

    def refused(self, what: str, remedy: str) -> TimedResult:
        """Fails unless it failed, with one error line with `what` and a next step with `remedy`."""
        assert self.status != 0, f"should have been refused:\n{self}"
        self.assert_refused(what, remedy, self.status)
        return self


class Run:
    """A run.sh at work, in a process group of its own."""

    def __init__(
        self, command: list[str], folder: Path, environment: dict[str, str], transcript: Path
    ) -> None:
        """Start `command` in a folder; what it says goes to TRANSCRIPT.out and .err.

        To files, because a pipe would wait for whoever keeps it open.
        """
        self.command = " ".join(command[command.index("sh") :])
        self.files: tuple[IO[bytes], IO[bytes]] = (
            transcript.with_suffix(".out").open("wb"),
            transcript.with_suffix(".err").open("wb"),
        )
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self.files[0],
            stderr=self.files[1],
            start_new_session=True,
        )

    @property
    def text(self) -> str:
        """What it has said so far."""
        return "".join(Path(file.name).read_text(errors="replace") for file in self.files)

    def said(self, text: str, seconds: float = 120) -> None:
        """Wait until it has said something. Fails if it ends before."""
        waiting = f"{self.command} to say {text!r}"
        eventually(
            lambda: text in self.text or self.ended,
            f"{waiting}:\n{self.text}",
            seconds,
            passes=True,  # what comes next may be quick
        )
        assert text in self.text, f"it ended without {text!r}:\n{self.wait()}"

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def seconds_so_far(self) -> float:
        """How long ago it was started."""
        return time.monotonic() - self.started

    def send(self, number: signal.Signals, *, group: bool = True) -> None:
        """Send a signal to all of its group, as a terminal does, or to itself alone."""
        (os.killpg if group else os.kill)(self.process.pid, number)

    def wait(self, seconds: float = PATIENCE) -> TimedResult:
        """Wait for its end."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"not ended after {seconds} s: {self.command}\n{self.text}"
            ) from None
        out, err = (Path(file.name).read_text(errors="replace") for file in self.files)
        return TimedResult(self.command, status, out, err, time.monotonic() - self.started)

    def stop(self, number: signal.Signals = signal.SIGINT, seconds: float = 90) -> TimedResult:
        """Press Ctrl-C, or send another signal, and wait for its end."""
        if not self.ended:
            self.send(number)
        return self.wait(seconds)

    def remove(self) -> None:
        """Be sure that nothing of it runs any more."""
        if not self.ended:
            try:
                self.stop(signal.SIGTERM)
            except AssertionError:
                self.send(signal.SIGKILL)
                self.process.wait()
        for file in self.files:
            file.close()
