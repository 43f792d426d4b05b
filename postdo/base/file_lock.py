"""A lock on an open file, which ends with the process that has it."""

from __future__ import annotations

import fcntl


def try_lock(descriptor: int) -> bool:
    """Whether nobody else has it. Network file systems may know no such lock: nobody, then."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
