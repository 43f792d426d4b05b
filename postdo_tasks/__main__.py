"""`python -m postdo_tasks worker|beat|flower`: becomes that program of Celery, with our options.

`python -m postdo_tasks database`: the workers of django-tasks-db (database.py).

Environment in: TASKS_POOL (prefork, threads, gevent), TASKS_CONCURRENCY (how many tasks at once;
empty: one for each CPU of the quota), TASKS_QUEUES (names with commas; empty: those of the
project's app), LOG_LEVEL, POSTDO_WORKER (the name of this worker).
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

CGROUP = Path("/sys/fs/cgroup")
APP = "postdo_tasks.app"
FLOWER_PORT = 5555


def usable_cpus(cgroup: Path = CGROUP) -> int:
    """CPUs worth a process each: the quota (cgroup v2) rounded up, no more than there are."""
    cpus = len(os.sched_getaffinity(0))
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return max(1, min(cpus, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no quota ("max"), or another cgroup
        return cpus


def worker_options(environment: Mapping[str, str]) -> list[str]:
    """What `celery worker` is given."""
    pool = environment.get("TASKS_POOL") or "prefork"
    if pool == "gevent" and importlib.util.find_spec("gevent") is None:
        fail(
            "TASKS_POOL is gevent, but the package gevent is not installed",
            "add gevent to web/requirements/tasks.in, compile it, and release again",
        )
    queues = environment.get("TASKS_QUEUES") or ""
    return [
        "worker",
        f"--pool={pool}",
        f"--concurrency={environment.get('TASKS_CONCURRENCY') or usable_cpus()}",
        f"--hostname=celery@worker-{environment.get('POSTDO_WORKER') or 'one'}",
        *([f"--queues={queues}"] if queues else []),
        "--without-gossip",
        "--without-mingle",
    ]


def options(program: str, environment: Mapping[str, str]) -> list[str]:
    """The arguments of `celery`."""
    level = f"--loglevel={environment.get('LOG_LEVEL') or 'INFO'}"
    if program == "worker":
        return ["-A", APP, *worker_options(environment), level]
    if program == "beat":
        return ["-A", APP, "beat", "--pidfile=", "--schedule=/tmp/celerybeat-schedule", level]
    if program == "flower":
        return ["-A", APP, "flower", f"--port={FLOWER_PORT}", "--address=0.0.0.0"]
    return fail(f"unknown program {program!r}", "give worker, beat, flower or database")


def fail(what: str, remedy: str) -> NoReturn:
    """Stop with the problem and what to do on standard error, and exit code 2."""
    print(f"error: {what}\n  next: {remedy}", file=sys.stderr)
    raise SystemExit(2)


def run_database_workers(environment: Mapping[str, str]) -> None:
    """Until SIGTERM."""
    if importlib.util.find_spec("django_tasks_db") is None:
        fail(
            "the package django-tasks-db is not installed",
            "add it to web/requirements/tasks-db.txt, and django_tasks_db to INSTALLED_APPS",
        )
    # Not above: Celery's programs do not need it.
    database = importlib.import_module("postdo_tasks.database")
    count = int(environment.get("TASKS_CONCURRENCY") or usable_cpus())
    database.run(environment.get("POSTDO_WORKER") or "one", count)


if __name__ == "__main__":
    if sys.argv[1:2] == ["database"]:
        run_database_workers(os.environ)
        raise SystemExit
    arguments = options("".join(sys.argv[1:2]), os.environ)
    if importlib.util.find_spec("celery") is None:
        fail("Celery is not installed", "add celery[redis] to web/requirements/tasks.txt")
    # Anew: -P gevent has to come before everything that is imported.
    os.execv(sys.executable, [sys.executable, "-m", "celery", *arguments])  # noqa: S606
