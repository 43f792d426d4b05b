"""The starter's own tests, in both of the ways in which its users run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

WEB = Path(__file__).resolve().parents[2] / "web"
# What `sh run.sh -2 manage test` and `-1` set for every command.
AS_RUN_SH = {"DJANGO_SETTINGS_MODULE": "config.settings.dev", "DEBUG": "1", "POSTDO_MODE": "local"}


@pytest.mark.parametrize(
    "command",
    # What is slow runs once: the site as a process of its own, and schemathesis.
    [
        ["manage.py", "test", "--exclude-tag", "slow"],
        ["-m", "pytest", "-q", "-p", "no:cacheprovider"],
    ],
    ids=["manage.py", "pytest"],
)
def test_the_starters_own_tests_pass(command: list[str], database: str) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": "/tmp", "DATABASE_URL": database}  # noqa: S108
    if command[0] == "manage.py":
        environment |= AS_RUN_SH | {"COMPOSE_PROFILES": ""}
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=WEB,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    assert "Traceback" not in ended.stdout + ended.stderr, "a provoked error is no failure"
    skipped = re.findall(r"skipped=\d+", ended.stdout + ended.stderr)
    # With every optional part off; pytest runs with all of them on.
    assert skipped == (["skipped=3"] if command[0] == "manage.py" else [])
