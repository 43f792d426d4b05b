"""Facts about the machine and about what runs in both stacks."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

from bench import project
from bench.process import BenchError, run

QUIET = 0.3  # load per core above which other work disturbs the numbers
VERSIONS = """\
import importlib.metadata, platform
for name in ("Django", "psycopg2-binary", "psycopg", "gunicorn"):
    try:
        print(name, importlib.metadata.version(name), end=", ")
    except importlib.metadata.PackageNotFoundError:
        pass
print("Python", platform.python_version())
"""


def require_tools() -> None:
    """Raise `BenchError` unless wrk, docker, Compose and an engine that answers are here."""
    if not shutil.which("wrk"):
        raise BenchError("wrk is not installed", "sudo apt install wrk")
    require_engine()


def require_engine() -> None:
    """Raise `BenchError` unless docker, Compose and an engine that answers are here."""
    if not shutil.which("docker"):
        raise BenchError("docker is not installed", "install Docker Engine")
    try:
        run(["docker", "info", "--format", "{{.ServerVersion}}"])
        run(["docker", "compose", "version"])
    except BenchError as error:
        raise BenchError(
            "the Docker engine or its Compose plugin does not answer", "sh run.sh doctor"
        ) from error


def facts() -> dict[str, str]:
    """Return what a reader needs to judge the numbers, in the order of printing."""
    found = facts_without_wrk()
    return found | {"tools": f"{found['tools']}, {wrk_version()}"}


def facts_without_wrk() -> dict[str, str]:
    """Return the same, of a run that needs nothing but the engine."""
    cores = os.cpu_count() or 1
    busy = os.getloadavg()[0] / cores
    engine = run(["docker", "version", "--format", "{{.Server.Version}}"]).strip()
    compose = run(["docker", "compose", "version", "--short"]).strip()
    return {
        "date": datetime.now().astimezone().isoformat(timespec="minutes"),
        "machine": f"{cores} cores, {processor()}, {memory_gib():.0f} GiB, "
        f"Linux {platform.release()}",
        "load before": f"{busy:.2f} per core"
        + (" (NOT QUIET: other work is in the numbers)" if busy > QUIET else ""),
        "tools": f"Docker {engine}, Compose {compose}",
    }


def facts_of_release(watch_seconds: int) -> dict[str, str]:
    """Return what a reader needs to judge what was measured of the site of bench/released/."""
    found = facts_without_wrk()
    return {
        "date": found["date"],
        "commit": commit(),
        "machine": found["machine"],
        "load before": found["load before"],
        "tools": found["tools"],
        "settings": "those of `.env.example`, with `DOMAIN=localhost` and "
        f"`WATCH_SECONDS={watch_seconds}`",
    }


def commit() -> str:
    """Return which one is measured."""
    described = subprocess.run(
        ["git", "-C", str(project.CLONE), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return described or "unknown"


def versions(container_id: str) -> str:
    """Return what runs in a container: Django, driver, Gunicorn, Python."""
    return run(
        ["docker", "exec", "-i", container_id, "python", "-"], standard_input=VERSIONS
    ).strip()


def processor() -> str:
    """Return the processor's name as the kernel knows it."""
    found = re.search(
        r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE
    )
    return found[1] if found else platform.machine()


def memory_gib() -> float:
    """Return the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3


def wrk_version() -> str:
    """Return wrk's name and version; it prints them with its help, and ends with status 1."""
    output = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
    return " ".join(output.split()[:2]) or "wrk"
