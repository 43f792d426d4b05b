"""A terminal with a user at it: run.sh in a session of its own, with a keyboard that has Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import time
from pathlib import Path
from types import TracebackType

from .machine import PATIENCE, Clone

CTRL_C = b"\x03"
# The user's own shell, whose child run.sh is, and which stays: with it gone, the kernel would hang
# up on all the others.
LEADER = ("sh", "-c", 'trap : INT; "$@"; echo "[ended with $?]"; read -r _', "sh")


class Terminal:
    """A run.sh on a pseudo terminal; what is left of it at the end of the test is killed."""

    def __init__(self, clone: Clone, *arguments: str) -> None:
        self.screen = ""
        argv, environment = [*LEADER, *clone.argv(*arguments)], clone.surroundings()
        self.leader, self._keyboard = pty.fork()
        if self.leader == 0:
            os.chdir(clone.root)
            os.execvpe(argv[0], argv, environment)  # noqa: S606 - the shell is in argv

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for pid in (*self.processes(), self.leader):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os.waitpid(self.leader, 0)
        os.close(self._keyboard)

    def press(self, keys: bytes) -> None:
        """Type something; Ctrl-C becomes a SIGINT to all that runs in the foreground."""
        os.write(self._keyboard, keys)

    def expect(self, text: str) -> None:
        """Read the screen until it shows a text.

        Raises AssertionError with the whole screen if it does not.
        """
        deadline = time.monotonic() + PATIENCE
        while text not in self.screen:
            assert self._read(deadline - time.monotonic()), f"{text!r} is not in:\n{self.screen}"

    def end(self) -> int:
        """Wait until run.sh has ended; its exit status, or 128 and the signal that killed it."""
        self.expect("[ended with ")
        self.expect("]\n")
        return int(self.screen.split("[ended with ")[1].split("]")[0])

    def run_sh(self) -> int:
        """The process of run.sh itself."""
        (pid,) = (pid for pid, parent in self._session() if parent == self.leader)
        return pid

    def processes(self) -> list[int]:
        """What runs in this session beside the user's shell, zombies excepted."""
        return [pid for pid, _ in self._session() if pid != self.leader]

    def _session(self) -> list[tuple[int, int]]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                stat = (folder / "stat").read_text().rsplit(") ", 1)[1]
                state, parent, _, session, *_ = stat.split()
                if int(session) == self.leader and state != "Z":
                    found.append((int(folder.name), int(parent)))
        return found

    def _read(self, seconds: float) -> bool:
        """Read what has come on the screen within some time; false for nothing."""
        if not select.select([self._keyboard], [], [], max(seconds, 0))[0]:
            return False
        try:
            text = os.read(self._keyboard, 65536)
        except OSError:  # nobody has the terminal open any more
            return False
        self.screen += text.decode(errors="replace").replace("\r\n", "\n")
        return bool(text)
