#!/usr/bin/env python3
"""Start the Chromium that `CHROMIUM` names, deaf to changes of the machine's network interfaces.

Chromium ends every request, those to this machine too, with `ERR_NETWORK_CHANGED` when an interface
comes or goes, and Docker makes and removes some for each container of the tests beside. No flag
prevents it. It hears of them by a netlink socket; if it cannot have one it takes the network as
unchanging (`AbortAndForceOnline` in Chromium's net/base/address_tracker_linux.cc). So it gets none:
a seccomp filter, which `exec` and all child processes inherit, answers "not supported".
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
import sys

# machine: its number in seccomp_data (AUDIT_ARCH_… of linux/audit.h), its number of socket(2)
ARCHITECTURES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2  # linux/prctl.h, seccomp.h
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K of linux/filter.h
CALL, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # places in struct seccomp_data
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EAFNOSUPPORT


class Program(ctypes.Structure):
    """struct sock_fprog: how many instructions, and where."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse_netlink(architecture: int, socket_call: int) -> None:
    """Let no netlink socket be opened by this process and what it starts; raises OSError."""
    instructions = [  # code, jump if true, jump if false, value
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 0, 5, architecture),
        (LOAD, 0, 0, CALL),
        (EQUAL, 0, 3, socket_call),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (EQUAL, 0, 1, socket.AF_NETLINK),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    ]
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(len(instructions), code)
    for arguments in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*arguments):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    if platform.machine() in ARCHITECTURES:
        refuse_netlink(*ARCHITECTURES[platform.machine()])
    os.execv(os.environ["CHROMIUM"], [os.environ["CHROMIUM"], *sys.argv[1:]])  # noqa: S606
