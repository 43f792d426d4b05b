"""tests/browser/launcher.py: what it starts hears of no change of the network."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

LAUNCHER = Path(__file__).resolve().parents[1] / "browser" / "launcher.py"
OPENS = """
import socket, subprocess, sys
socket.socket(socket.AF_INET).close()
try:
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
except OSError as error:
    print(error.errno)
if len(sys.argv) > 1:
    subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
"""


def test_what_it_starts_and_what_that_starts_get_no_netlink_socket() -> None:
    command = [str(LAUNCHER), "-c", OPENS, OPENS]
    environment = {**os.environ, "CHROMIUM": sys.executable}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == [str(errno.EAFNOSUPPORT)] * 2
