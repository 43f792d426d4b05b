"""Gunicorn's configuration, for whatever Django project stands in web/.

Gunicorn runs this file and takes each name that is one of its settings; the rest is ours.
Environment in: WSGI_APPLICATION, WEB_CONCURRENCY (processes), WEB_THREADS (in each process),
WEB_TIMEOUT (seconds), POSTGRES_MAX_CONNECTIONS, LOG_LEVEL, HEALTH_PATH; MAX_REQUEST_BODY and
POSTDO_UPLOADS, a folder on disk, are read by postdo_serving/.
What was measured for these choices, and how: docs/decisions/gunicorn.md.
"""

from __future__ import annotations

import gc
import json
import logging
import math
import os
import re
import signal
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NoReturn

from gunicorn.glogging import Logger

from postdo_serving import bodies, uploads

CGROUP = Path("/sys/fs/cgroup")
DEFAULT_THREADS = 4  # docs/decisions/gunicorn.md
COLOURS = 2  # while a new version takes over, the old one holds its connections too
OTHER_CONNECTIONS = 20  # migrations, psql, backups, and PostgreSQL's own reserve of 3
LONGEST_LOGGED = 2048  # characters of anything that a client chose
HEALTH_PATH = os.environ.get("HEALTH_PATH") or "/readyz"
# What counts for days in links: Django's token for a new password, and the end of what it signs.
TOKEN = re.compile(r"\b[0-9a-z]{6,7}-[0-9a-f]{32}\b|:[0-9A-Za-z]{6}:[0-9A-Za-z_-]{43}")
UNHEALTHY = 500  # as healthcheck.py counts: a project without such a page says 404, and serves


def misconfigured(what: str, remedy: str) -> NoReturn:
    """Stop with the problem and what to do on standard error, and exit code 2."""
    print(f"error: {what}\n  next: {remedy}", file=sys.stderr)
    raise SystemExit(2)


def number(name: str, environment: Mapping[str, str], *, default: int) -> int:
    """A whole number from the environment; unset, empty and 0 mean `default`."""
    text = environment.get(name, "").strip() or "0"
    if not text.isdecimal():
        misconfigured(
            f"{name} is {text!r}, but must be a whole number",
            f"set {name} in .env to a whole number, or leave it empty",
        )
    return int(text) or default


def cpu_quota(cgroup: Path = CGROUP) -> float:
    """CPUs that this container may use, from cgroup v2 (cpu.max) or v1 (cfs_quota); inf: all."""
    for quota_file, period_file in (
        ("cpu.max", "cpu.max"),
        ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"),
    ):
        try:
            quota = (cgroup / quota_file).read_text().split()[0]
            period = (cgroup / period_file).read_text().split()[-1]
            if quota not in ("max", "-1"):
                return int(quota) / int(period)
        except (OSError, ValueError, IndexError, ZeroDivisionError):
            continue
    return math.inf


def usable_cpus() -> int:
    """CPUs worth a process each: the quota rounded up, and no more than there are to run on."""
    return max(1, math.ceil(min(cpu_quota(), len(os.sched_getaffinity(0)))))


def processes_and_threads(cpus: int, environment: Mapping[str, str]) -> tuple[int, int]:
    """How many processes, and threads in each, so that PostgreSQL's connections are enough.

    Each thread keeps one connection. What .env asks for is taken or refused; what it leaves open is
    chosen to fit.
    """
    limit = number("POSTGRES_MAX_CONNECTIONS", environment, default=100)
    budget = (limit - OTHER_CONNECTIONS) // COLOURS
    if budget < 1:
        misconfigured(
            f"POSTGRES_MAX_CONNECTIONS is {limit}, which is too few",
            f"set it in .env to at least {OTHER_CONNECTIONS + COLOURS}",
        )
    asked_processes = number("WEB_CONCURRENCY", environment, default=0)
    asked_threads = number("WEB_THREADS", environment, default=0)
    processes = asked_processes or max(1, min(cpus, budget // (asked_threads or DEFAULT_THREADS)))
    thread_count = asked_threads or max(1, min(DEFAULT_THREADS, budget // processes))
    if processes * thread_count > budget:
        misconfigured(
            f"{processes} processes of {thread_count} threads need {processes * thread_count} "
            f"database connections, but one version may use {budget} of the {limit}",
            "lower WEB_CONCURRENCY or WEB_THREADS in .env, or raise POSTGRES_MAX_CONNECTIONS",
        )
    return processes, thread_count


Environment = Mapping[str, Any]  # of one request, as WSGI defines it


class OneLineJson(logging.Formatter):
    """A record as one line of ASCII JSON: nothing that a client sends can end it or begin one."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, timezone.utc)
        line: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "request_facts", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class JsonLogger(Logger):  # type: ignore[misc]  # Gunicorn has no types
    """Gunicorn's logger, both logs as JSON lines, without the container's own health checks."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            for handler in log.handlers:
                handler.setFormatter(OneLineJson())

    def access(self, resp: Any, req: Any, environ: Environment, request_time: timedelta) -> None:
        status = int(str(resp.status).split(maxsplit=1)[0])
        if status < UNHEALTHY and is_health_check(environ):
            return
        method = text_of(environ, "REQUEST_METHOD")
        target = without_token(text_of(environ, "RAW_URI"))
        facts = {
            "method": method,
            "path": target,
            "status": status,
            "bytes": resp.sent,
            "seconds": round(request_time.total_seconds(), 4),
            "client": text_of(environ, "REMOTE_ADDR"),  # the visitor's: postdo_serving/clients.py
            "host": text_of(environ, "HTTP_HOST"),
            "referer": without_token(text_of(environ, "HTTP_REFERER")),
            "agent": text_of(environ, "HTTP_USER_AGENT"),
        }
        self.access_log.info("%s %s %s", method, target, status, extra={"request_facts": facts})


def is_health_check(environ: Environment) -> bool:
    """From inside this container, and not through the proxy, which always names a client."""
    return (
        environ.get("PATH_INFO") == HEALTH_PATH
        and environ.get("REMOTE_ADDR") == "127.0.0.1"
        and "HTTP_X_FORWARDED_FOR" not in environ
    )


def without_token(target: str) -> str:
    """The same address; nobody who reads it in a log can set a user's password with it."""
    return TOKEN.sub("REDACTED", target)


def text_of(environ: Environment, name: str) -> str:
    """A value of the request, cut to a length that a log can bear."""
    return str(environ.get(name) or "")[:LONGEST_LOGGED]


def when_ready(server: Any) -> None:
    """Once, the application loaded and no worker made: keep what a fork may share, no more."""
    if "django.db" in sys.modules:
        from django.db import connections  # noqa: PLC0415  # not before Django is set up

        connections.close_all()
    # What is loaded by now stays. Out of the collector's sight, its memory stays shared as well.
    gc.collect()
    gc.freeze()
    uploads.remove_left_folders()
    server.log.info("%s processes of %s threads", server.cfg.workers, server.cfg.threads)


def child_exit(server: Any, worker: Any) -> None:
    """A worker has ended, perhaps killed: remove what it has left of uploads."""
    uploads.remove_folder_of(worker.pid)


def post_fork(server: Any, worker: Any) -> None:
    """In a new worker, which has the arbiter's signal handlers yet: they only fill its queue."""
    worker.early_signals = getattr(server, "SIG_QUEUE", None)


def post_worker_init(worker: Any) -> None:
    """The worker has its own handlers now: hand over a stop that came before them.

    Gunicorn 27 loses it, and a stop within the first moments takes all of graceful_timeout.
    """
    early = worker.early_signals
    while early is not None and not early.empty():
        number = early.get_nowait()
        if number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            os.kill(os.getpid(), number)


# ---- What Gunicorn reads ----

try:
    bodies.limits(os.environ, 1)
except ValueError as error:
    what, _, remedy = str(error).partition("; ")
    misconfigured(what, remedy)

wsgi_app = os.environ.get("WSGI_APPLICATION") or "config.wsgi:application"
bind = "0.0.0.0:8000"
worker_class = "postdo_serving.worker.Worker"  # gthread, with whole requests: see there
workers, threads = processes_and_threads(usable_cpus(), os.environ)
preload_app = True  # one copy in memory, and a project that cannot start says so once
# Heartbeats in memory: on a slow disk they look like a worker that hangs.
worker_tmp_dir = "/dev/shm"  # noqa: S108

# A worker whose main loop is silent for this long is replaced. With threads that limits no request:
# the proxy gives up on one after the same time, and a stop waits that long for one.
timeout = number("WEB_TIMEOUT", os.environ, default=30)
graceful_timeout = timeout  # stop_grace_period in docker-compose.yml is 10 s more
keepalive = 75  # longer than the proxy keeps an idle connection: see proxy/Caddyfile

max_requests = 0  # no recycling: it would close connections that the proxy is about to use
limit_request_line = 8190  # bytes; the default of 4094 is less than some advertisers' links
control_socket_disable = True

# Others than the proxy lose these headers before they count: postdo_serving/clients.py. What else a
# client sends goes through, and must not count: other headers of that kind, and one named
# SCRIPT_NAME, which would move the site's root.
forwarded_allow_ips = "*"
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}
forwarder_headers = ""

logger_class = JsonLogger
accesslog = "-"
errorlog = "-"
loglevel = (os.environ.get("LOG_LEVEL") or "INFO").lower()
