"""Requests per second and latency of a page, by wrk."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.process import BenchError, run

CONNECTIONS = 16
IN_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}

RATE = re.compile(r"^Requests/sec:\s+([0-9.]+)$", re.MULTILINE)
P99 = re.compile(r"^\s+99%\s+([0-9.]+)(us|ms|s|m)$", re.MULTILINE)
REFUSED = re.compile(r"^\s+Non-2xx or 3xx responses: (\d+)$", re.MULTILINE)
BROKEN = re.compile(r"^\s+Socket errors: (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Load:
    """What one run of wrk measured: requests per second, and the 99th percentile in seconds."""

    rate: float
    p99: float


def press(url: str, seconds: int) -> Load:
    """Ask for a page for that long over 16 connections.

    Raises `BenchError` if one request was not answered well.
    """
    argv = ["wrk", "--latency", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", url]
    return parse(run(argv), url)


def parse(text: str, url: str) -> Load:
    """Read what wrk prints. Pure."""
    rate, p99 = RATE.search(text), P99.search(text)
    wrong = REFUSED.search(text) or BROKEN.search(text)
    if wrong or not rate or not p99:
        raise BenchError(
            f"wrk on {url}: {wrong[0].strip() if wrong else 'no rate and latency in its output'}",
            "a rate with errors in it says nothing: look why, and repeat",
        )
    return Load(float(rate[1]), float(p99[1]) * IN_SECONDS[p99[2]])
