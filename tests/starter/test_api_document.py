"""Each command of docs/api.md, as a reader runs it against a site with the part api."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documents import blocks, commands, text_of
from programs import needed
from projects import Project
from starter_site import link_in, migrated, served

DOCUMENT = text_of("docs/api.md")
SIGN_UP, CONFIRM, REQUESTS = blocks(DOCUMENT, "sh")[:3]


@pytest.fixture
def site(database: str) -> Project:
    return migrated(database)


def asked(script: str, address: str) -> tuple[str, str]:
    """What the site answers to the requests of the document: the output, and all statuses."""
    with_status = re.sub(
        r"^curl ", r"curl -sS -w '\\n%{http_code}\\n' ", script, flags=re.MULTILINE
    )
    ended = subprocess.run(
        ["sh", "-eu", "-c", f"SITE={address}\n{with_status}"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout, " ".join(re.findall(r"^\d{3}$", ended.stdout, re.MULTILINE))


def test_the_requests_are_answered_as_it_says(site: Project, tmp_path: Path) -> None:
    needed("curl")
    first, sign_up = SIGN_UP.splitlines()
    assert first == "SITE=http://127.0.0.1:8001"
    with served(site, tmp_path) as address:
        output, statuses = asked(sign_up, address)
        assert statuses == "202", output
        example, confirm = CONFIRM.splitlines()
        assert example == f"LINK={first.removeprefix('SITE=')}/accounts/sign-up/TOKEN/"
        output, statuses = asked(f"LINK={link_in(tmp_path)}\n{confirm}", address)
        assert statuses == "201", output
        output, statuses = asked(REQUESTS, address)
    assert statuses == "200 201 200 200 204 204", output
    assert '"email":"ada@example.com"' in output
    assert '"text":"Hello"' in output
    assert site.sql("SELECT count(*) FROM api_token") == [(0,)]


def test_the_tables_are_dropped_by_the_last_commands(site: Project) -> None:
    for line in blocks(DOCUMENT, "sh")[-1].splitlines():
        words = line.removeprefix("sh run.sh -2 manage ").split()
        ended = site.execute([sys.executable, "manage.py", *words])
        assert ended.code == 0, ended
    left = "SELECT to_regclass('api_token'), to_regclass('notifications_notification')"
    assert site.sql(left) == [(None, None)]


def test_no_other_command_is_told() -> None:
    elsewhere = {"sh run.sh -0", "sh run.sh -1", "sh run.sh -2", "sh run.sh -2 manage test"}
    here = set((SIGN_UP + CONFIRM + REQUESTS + blocks(DOCUMENT, "sh")[-1]).splitlines())
    assert set(commands(DOCUMENT)) - here == elsewhere, "tests/stack/test_readme.py runs these"
