"""What a run of tests costs: python3 tests/cpu.py COMMAND...

Prints the CPU seconds of the command and of everything that it starts, PostgreSQL among it, to the
last process. Time by the clock says how busy the machine is, too. What runs in containers belongs
to the engine and is not counted.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
from contextlib import suppress

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h: who loses its parent becomes a child of this process


def main() -> int:
    """Run it; its exit code."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    command = subprocess.Popen(sys.argv[1:])
    code = 0
    with suppress(ChildProcessError):
        while True:  # also for the servers that it has left, each as soon as it ends
            pid, status = os.wait()
            if pid == command.pid:
                code = command.returncode = os.waitstatus_to_exitcode(status)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"CPU: {used.ru_utime + used.ru_stime:.1f} s", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
