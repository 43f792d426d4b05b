"""`python -m postdo_tasks database`: workers of django-tasks-db, none of which loses a task.

A worker of django-tasks-db that is killed leaves its task as RUNNING for ever. So this process
starts each worker under a name of its own (postdo-blue-0, postdo-blue-1, …): when one has ended,
what is RUNNING under its name is made READY again. Should this process itself end, the lock that
its session held in PostgreSQL is free, and that of the other color finds its tasks.

Environment in: TASKS_CONCURRENCY, TASKS_QUEUES, TASK_SECONDS, POSTDO_WORKER. The health check reads
the age of the file `alive_file()`.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import signal
import subprocess
import sys
import time
from types import FrameType
from typing import Any

import django
from django.core.management import call_command
from django.db import Error, connection, transaction
from django.utils.module_loading import import_string

from .health import alive_file

logger = logging.getLogger("postdo_tasks")

EVERY = 0.5  # seconds between two looks at the workers
TIDY_EVERY = 5.0  # seconds between two looks for what others have left
PRUNE_EVERY = 3600.0
AWAY = 20.0  # seconds without its lock after which another one counts as dead
SETTLED = 3.0  # seconds after which a worker has started well
STOP_SECONDS = 30  # for running tasks; stop_grace_period is 15 s more
KEPT_DAYS = {"min_age_days": 1, "failed_min_age_days": 14}
PR_SET_PDEATHSIG = 1  # prctl(2)

# A session that waits longer than this, say for a lock, is no use to a process that has to end.
LIMIT = "SET statement_timeout = '10s'"
# The first number is ours among the advisory locks of the database.
LOCK = "SELECT pg_try_advisory_lock(1886352244, hashtext(%s))"
IS_FREE = "SELECT pg_try_advisory_xact_lock(1886352244, hashtext(%s))"
# A task has the names of all workers that took it, the last one at the end.
RESTORE = """
    UPDATE django_tasks_database_dbtaskresult SET status = 'READY'
    WHERE status = 'RUNNING' AND worker_ids ->> -1 ~ %s
"""
OTHERS = r"""
    SELECT DISTINCT substring(worker_ids ->> -1 FROM '^postdo-(.+)-[0-9]+$')
    FROM django_tasks_database_dbtaskresult WHERE status = 'RUNNING'
"""
FAIL_OVERDUE = """
    UPDATE django_tasks_database_dbtaskresult SET status = 'FAILED', finished_at = now(),
        exception_class_path = 'builtins.TimeoutError', traceback = %s
    WHERE status = 'RUNNING' AND worker_ids ->> -1 ~ %s
        AND started_at < now() - make_interval(secs => %s)
    RETURNING worker_ids ->> -1
"""
# What the worker of another version could not import, and so has not begun. As in db/tasks.sql.
UNKNOWN = """
    SELECT id, task_path FROM django_tasks_database_dbtaskresult
    WHERE status = 'FAILED' AND worker_ids ->> -1 !~ %s AND traceback NOT LIKE '%%task.call(%%'
        AND exception_class_path IN ('builtins.ImportError', 'builtins.ModuleNotFoundError')
    LIMIT 100
"""
AGAIN = "UPDATE django_tasks_database_dbtaskresult SET status = 'READY' WHERE id = %s"


class Workers:
    """The workers of this container, `name`: a process each, which runs one task at a time."""

    def __init__(self, name: str, count: int, queues: str, task_seconds: int) -> None:
        self.name = name
        self.names = [f"postdo-{name}-{number}" for number in range(count)]
        self.queues = queues
        self.task_seconds = task_seconds
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.started: dict[str, float] = {}
        self.missed: dict[str, float] = {}  # others, and since when they have not had their lock
        self.tidied = self.pruned = float("-inf")
        self.has_lock = self.stopping = False

    def run(self) -> None:
        """Until SIGTERM; then until the tasks that run have ended, or the time is over."""
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        while not self.stopping:
            self.look()
            time.sleep(EVERY)
        for worker in self.running.values():
            worker.terminate()  # it ends its task, and takes no other one
        deadline = time.monotonic() + STOP_SECONDS
        for worker in self.running.values():
            try:
                worker.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        restore(all_of(self.name))

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """From now on nothing is started."""
        self.stopping = True

    def look(self) -> None:
        """Once. Without a database nothing is started, and this container is not healthy."""
        try:
            if not self.has_lock and not self.take_lock():
                return
            now = time.monotonic()
            for name in self.names:
                worker = self.running.get(name)
                if worker is None or worker.poll() is not None:
                    restore(f"^{re.escape(name)}$")
                    self.running[name] = self.start(name)
                    self.started[name] = now
            if now - self.tidied > TIDY_EVERY:
                self.tidied = now
                self.tidy(now)
        except Error as error:
            logger.warning("the database cannot be used: %s", error)
            connection.close()
            self.has_lock = False
            return
        if all(now - started > SETTLED for started in self.started.values()):
            alive_file().touch()

    def take_lock(self) -> bool:
        """Hold the lock of this name for as long as the session lasts."""
        with connection.cursor() as cursor:
            cursor.execute(LIMIT)
        self.has_lock = bool(one(LOCK, self.name))
        if not self.has_lock:
            logger.warning("another process has the workers of %s", self.name)
        elif not self.running:  # after a lost connection they may still be at work
            restore(all_of(self.name))
        return self.has_lock

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """One worker. A signal from the keyboard does not reach it: it is told to end once."""
        options = [f"--queue-name={self.queues}", f"--worker-id={name}", "--no-reload"]
        command = [sys.executable, "manage.py", "db_worker", *options]
        return subprocess.Popen(command, start_new_session=True, preexec_fn=die_with_parent)  # noqa: PLW1509  # no threads

    def tidy(self, now: float) -> None:
        """Everything but the workers themselves."""
        for name in self.fail_overdue():
            self.running[name].kill()
        self.restore_of_the_dead(now)
        take_known(all_of(self.name))
        if now - self.pruned > PRUNE_EVERY:
            self.pruned = now
            call_command("prune_db_task_results", queue_name="*", verbosity=0, **KEPT_DAYS)

    def fail_overdue(self) -> list[str]:
        """The names of workers whose task has taken too long, and counts as failed."""
        text = f"The task ran for longer than TASK_SECONDS, {self.task_seconds} s, and was killed."
        with connection.cursor() as cursor:
            cursor.execute(FAIL_OVERDUE, [text, all_of(self.name), self.task_seconds])
            return [name for (name,) in cursor.fetchall() if name in self.running]

    def restore_of_the_dead(self, now: float) -> None:
        """What others have left that have not held their lock for a while.

        Not at once: a restart of PostgreSQL takes it from all, and they take it again.
        """
        with connection.cursor() as cursor:
            cursor.execute(OTHERS)
            others = {str(name) for (name,) in cursor.fetchall() if name} - {self.name}
        self.missed = {name: self.missed[name] for name in others & self.missed.keys()}
        for name in others:
            with transaction.atomic():
                if not one(IS_FREE, name):
                    self.missed.pop(name, None)
                elif now - self.missed.setdefault(name, now) > AWAY:
                    restore(all_of(name))


def all_of(name: str) -> str:
    """As a regular expression of PostgreSQL: each worker of that container."""
    return f"^postdo-{re.escape(name)}-[0-9]+$"


def one(query: str, *values: object) -> Any:
    """The one value of the one row that it returns."""
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchone()[0]


def restore(workers: str) -> None:
    """Tasks that workers of that name had taken and had not ended wait again."""
    with connection.cursor() as cursor:
        cursor.execute(RESTORE, [workers])
        if cursor.rowcount:
            logger.warning(
                "%s tasks of %s had not ended and are done again", cursor.rowcount, workers
            )


def take_known(own: str) -> None:
    """Tasks whose name the other version did not know wait again, if this one knows it."""
    with connection.cursor() as cursor:
        cursor.execute(UNKNOWN, [own])
        for task, path in cursor.fetchall():
            try:
                import_string(path)
            except ImportError:
                continue
            cursor.execute(AGAIN, [task])


def die_with_parent() -> None:
    """In a worker that starts: it does not outlive who would put its task back."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux has it
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run(name: str, count: int) -> None:
    """Of this process."""
    django.setup()
    queues = os.environ.get("TASKS_QUEUES") or "*"
    Workers(name, count, queues, int(os.environ.get("TASK_SECONDS") or 3600)).run()
