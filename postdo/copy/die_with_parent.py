"""Run a program that ends when the process that started it does, whatever ended that.

    python -I -S die_with_parent.py PID-OF-THE-STARTER PROGRAM ARGUMENTS

A pg_dump whose starter was killed would go on, with its locks on every table of production. Linux
tells a process that its parent is gone; SIGTERM, because then pg_dump also ends its helpers and
what it runs on the server. Elsewhere the program is only started. Nothing but the standard library
and a script of its own, so that it starts in 20 ms.
"""

from __future__ import annotations

import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Ask the kernel to be killed with the parent, then become the program of the arguments.

    Exits with 1 if the parent is gone already.
    """
    starter, *command = sys.argv[1:]
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415  not every Python has it

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(starter):
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
