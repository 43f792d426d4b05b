"""Runs inside a container, from standard input: how long do commands take there?

In: as JSON, an object of name to a list of commands (lists of words), which count as one.
Out: as JSON, name to seconds.
"""

import json
import subprocess
import sys
import time


def seconds(commands: list[list[str]]) -> float:
    """Run them one after the other."""
    start = time.perf_counter()
    for command in commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


print(json.dumps({name: seconds(commands) for name, commands in json.loads(sys.argv[1]).items()}))
