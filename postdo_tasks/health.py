"""Health check of the containers: `python -I -S health.py worker|beat|flower|database`.

A worker is healthy while it has noted in Redis that it hears its queues (watch.py), beat while it
holds its lock (with a scheduler that has none, while it runs), Flower while it answers, the workers
of PostgreSQL while they have noted in a file that they reach it (database.py). Nothing of the
project is loaded, so that it stays cheap. Exit code 0 healthy, 1 not.
"""

import os
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

# The name of beat's lock, which beat writes when it starts (app.py); nothing if it has none there.
BEAT_LOCK = Path("/tmp/postdo-beat-lock")  # noqa: S108 - of this container

FLOWER = ("127.0.0.1", 5555)
TIMEOUT_SECONDS = 4  # below the `timeout` of the health check
YOUNG_SECONDS = 15  # for which a note in the file counts


def alive_file() -> Path:
    """What database.py touches while all is well."""
    return Path(os.environ.get("TMPDIR") or "/tmp", "postdo-worker")  # noqa: S108  # a container's


def main(program: str) -> str:
    """What is wrong; empty if nothing is."""
    if program == "database":
        age = time.time() - alive_file().stat().st_mtime
        return "" if age < YOUNG_SECONDS else "its workers do not run, or do not reach the database"
    if program == "flower":
        # Without http.client, whose import takes as long as all the rest of this program.
        with socket.create_connection(FLOWER, timeout=TIMEOUT_SECONDS) as plain:
            plain.sendall(b"GET /healthcheck HTTP/1.0\r\nHost: localhost\r\n\r\n")
            line = plain.recv(100).partition(b"\r\n")[0].decode(errors="replace")
        return "" if line.split()[1:2] == ["200"] else f"Flower answers {line!r}"
    worker = os.environ.get("POSTDO_WORKER") or "one"
    key = f"postdo:alive:{worker}" if program == "worker" else BEAT_LOCK.read_text()
    if not key:
        return ""
    if exists(os.environ["CELERY_BROKER_URL"], key):
        return ""
    return "it does not hear its queues" if program == "worker" else "it does not hold its lock"


def exists(url: str, key: str) -> bool:
    """Whether Redis has `key`, asked in its protocol (RESP)."""
    parts = urlsplit(url)
    address = (parts.hostname or "redis", parts.port or 6379)
    with socket.create_connection(address, timeout=TIMEOUT_SECONDS) as plain:
        for name, value in (("AUTH", parts.password), ("SELECT", parts.path[1:]), ("EXISTS", key)):
            if value:
                plain.sendall(command(name, value))
                answer = plain.recv(200)
    return answer.startswith(b":1")


def command(*words: str) -> bytes:
    """As Redis reads it."""
    texts = [word.encode() for word in words]
    return b"*%d\r\n" % len(texts) + b"".join(b"$%d\r\n%s\r\n" % (len(t), t) for t in texts)


if __name__ == "__main__":
    try:
        problem = main(sys.argv[1])
    except OSError as error:
        problem = f"no answer: {error}"
    print(problem or "well")
    sys.exit(1 if problem else 0)
