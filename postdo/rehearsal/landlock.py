"""Closes the file system for the process by the kernel: it reads everything, and writes only here.

Landlock (Linux 5.13 and newer) needs no privileges, holds for root too, for whatever a library does
in C, and for every program and child that is started afterwards. It cannot be taken back. It does
not know modes, owners and times of files; ``sandbox_files`` and ``sandbox`` see to those.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Iterable

# The same numbers on every architecture (include/uapi/asm-generic/unistd.h).
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION = 1  # flag of CREATE_RULESET: ask for the kernel's version of Landlock
PATH_BENEATH = 1
NO_NEW_PRIVILEGES = 38  # of prctl; without it only root may restrict itself

# include/uapi/linux/landlock.h
WRITE_FILE, REMOVE_FILE, MAKE_REGULAR = 1 << 1, 1 << 5, 1 << 8
# Also to remove folders, and to make devices, folders, sockets, pipes and links.
WRITING = WRITE_FILE | REMOVE_FILE | MAKE_REGULAR
WRITING |= 1 << 4 | 1 << 6 | 1 << 7 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12
REFER, TRUNCATE = 1 << 13, 1 << 14  # since version 2 and 3

NOTHING = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty")
SEMAPHORES = "/dev/shm"  # noqa: S108  where the C library keeps those of multiprocessing


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def restrict(folder: str) -> bool:
    """Let this thread, and what it starts, write only below ``folder``; it can still read all.

    Returns ``False`` if the kernel has no Landlock, or if a sandbox around us prevents it.
    """
    if sys.platform != "linux":
        return False
    version = _call(CREATE_RULESET, None, 0, VERSION)
    if version < 1:
        return False
    handled = WRITING | (REFER if version > 1 else 0) | (TRUNCATE if version > 2 else 0)  # noqa: PLR2004
    ruleset = _Ruleset(handled)
    rules = _call(CREATE_RULESET, ctypes.byref(ruleset), ctypes.sizeof(ruleset), 0)
    if rules < 0:
        return False
    try:
        _allow(rules, [folder], handled)
        _allow(rules, NOTHING, handled & (WRITE_FILE | TRUNCATE))
        shared = WRITE_FILE | REMOVE_FILE | MAKE_REGULAR | TRUNCATE
        _allow(rules, [SEMAPHORES], handled & shared)
        _LIBRARY.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        return _call(RESTRICT_SELF, rules, 0) == 0
    finally:
        os.close(rules)


def _allow(rules: int, paths: Iterable[str], access: int) -> None:
    for path in paths:
        try:
            there = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # then nothing is to be written there either
        try:
            if not stat.S_ISDIR(os.fstat(there).st_mode):
                access &= WRITE_FILE | TRUNCATE
            rule = _PathBeneath(access, there)
            _call(ADD_RULE, rules, PATH_BENEATH, ctypes.byref(rule), 0)
        finally:
            os.close(there)


_LIBRARY = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    """A system call that the C library has no function for; below 0 if it failed."""
    words = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return int(_LIBRARY.syscall(ctypes.c_long(number), *words))
