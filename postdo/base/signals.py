"""SIGTERM and SIGINT while a command works: end at once, and never in the middle of a step.

As PID 1 of a container the process gets no default action for SIGTERM, so a handler it must be;
and a Python handler only runs between two bytecodes, not while the database driver waits in C.
Hence two actors. The handler, in the main thread, raises ``Stopped`` if that leaves nothing
half-done. A watcher thread is woken by the signal too, and deals with a main thread that is stuck:
it cancels the running statement, or ends the process if nothing is at stake.

A child that a migration forks (``multiprocessing.Pool``) is not the command: it gets back the
handlers from before, and does not write to the watcher's socket, which it shares with its parent.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
STUCK_SECONDS = 0.3  # longer than any Python step in which the handler has to wait its turn
CANCEL_SECONDS = 0.2  # between two attempts to cancel; a cancel can come between two statements
END = os._exit  # as it is now: a migration is kept from calling it
UNWIND_SECONDS = 5.0  # to close connections and say what stays; half of Docker's default grace


class Stopped(KeyboardInterrupt):
    """A signal ended the command.

    It is a ``KeyboardInterrupt``, so that ``except Exception`` in a project's code does not catch
    it, and so that psycopg 3 cancels the statement that it waits for.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell shows for a process ended by this signal: 128 + number, 143 for SIGTERM."""
        return 128 + self.number


@dataclass(frozen=True)
class _Work:
    """Work that may only stop inside a transaction, which a rollback takes back."""

    in_transaction: Callable[[], bool]
    cancel: Callable[[], None]


def _never() -> bool:
    return False


def _nothing() -> None:
    """Cancels nothing: work outside the database runs to its end."""


class StopSignals:
    """Handles SIGTERM and SIGINT of this process; the command line creates the only one."""

    def __init__(self) -> None:
        self._work: _Work | None = None
        self._pending: int | None = None
        self._usual: dict[signal.Signals, Any] = {}
        self._mask = threading.local()

    def install(self) -> None:
        """Handle SIGTERM and SIGINT from now on. Must be called in the main thread."""
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        self._usual = {number: signal.signal(number, self._handle) for number in SIGNALS}
        os.register_at_fork(
            before=self._hold_signals,
            after_in_parent=self._take_signals,
            after_in_child=self._let_go,
        )
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._writer = writer  # kept open for as long as signals are written to it
        threading.Thread(target=self._watch, args=(reader,), daemon=True).start()

    @property
    def pending(self) -> bool:
        """Whether a signal has arrived."""
        return self._pending is not None

    def check(self) -> None:
        """Raise ``Stopped`` if a signal has arrived. To be called where the work can stop."""
        if self._pending is not None:
            raise Stopped(self._pending)

    @contextmanager
    def guarded(
        self,
        in_transaction: Callable[[], bool] = _never,
        cancel: Callable[[], None] = _nothing,
    ) -> Iterator[None]:
        """Inside the block, a signal ends the work only where nothing stays half-done.

        That is while ``in_transaction()`` is true (``cancel()`` then ends the running statement),
        where the work calls ``check()``, and at the end of the block. Raises ``Stopped`` there.
        """
        self._work = _Work(in_transaction, cancel)
        try:
            yield
        finally:
            self._work = None
        self.check()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._pending = number
        work = self._work
        if work is None or work.in_transaction():
            raise Stopped(number)

    def _hold_signals(self) -> None:
        """Before a fork: a child can get a signal before it has let go."""
        self._mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    def _take_signals(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask.before)

    def _let_go(self) -> None:
        """In a forked child: its signals are its own, and no work of ours is done there."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._usual.items():
            signal.signal(number, handler)
        self._work = self._pending = None
        self._take_signals()

    def _watch(self, reader: socket.socket) -> None:
        while True:
            for number in reader.recv(16):
                if number in SIGNALS:
                    self._see_to_it(number)

    def _see_to_it(self, number: int) -> None:
        unwound = time.monotonic() + UNWIND_SECONDS
        while True:
            time.sleep(CANCEL_SECONDS if self._work else STUCK_SECONDS)
            work = self._work
            if work is not None:
                unwound = time.monotonic() + UNWIND_SECONDS
                if work.in_transaction():
                    work.cancel()
            elif self._pending is None or time.monotonic() > unwound:
                # The main thread waits in C, so the handler had no turn, or cannot get out.
                os.write(2, f"postdo: stopped by {signal.Signals(number).name}\n".encode())
                END(128 + number)
