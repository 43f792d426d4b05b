"""Windows line ends: a checkout has none, and a clone that has them all the same says so."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from .machine import PROJECT, Clone, Shell, copy_of_the_project

GIT = ("git", "-c", "safe.directory=*", "-c", "user.name=Test", "-c", "user.email=t@example.com")

KIT = next(
    line.partition(" #")[0].strip()
    for line in (PROJECT / "run.sh").read_text().splitlines()
    if line.startswith("KIT=")
)


def to_windows(path: Path) -> None:
    """Give a text file the line ends of Windows."""
    text = path.read_bytes()
    if b"\0" not in text:
        path.write_bytes(text.replace(b"\n", b"\r\n"))


def test_a_checkout_with_autocrlf_has_no_windows_line_ends(tmp_path: Path) -> None:
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    copy_of_the_project(origin)
    for arguments in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "The project")):
        subprocess.run([*GIT, "-C", origin, *arguments], check=True)
    subprocess.run([*GIT, "-c", "core.autocrlf=true", "clone", "-q", origin, clone], check=True)
    icon = "web/public/favicon.ico"
    assert (clone / icon).read_bytes() == (origin / icon).read_bytes()
    texts = [path for path in clone.rglob("*") if path.is_file() and ".git" not in path.parts]
    assert len(texts) > 100
    assert [path for path in texts if b"\r\n" in path.read_bytes()] == [clone / icon]


@pytest.mark.every_shell
def test_a_clone_with_windows_line_ends_says_so_and_its_remedy_works(clone: Clone) -> None:
    for path in clone.root.rglob("*"):
        if path.is_file():
            to_windows(path)
    before = clone.files()
    refused = clone.run("-0").assert_refused("Windows line endings (CRLF)", "sed -i")
    assert clone.files() == before
    remedy = re.search(r"next: convert them: (.*)", refused.err)
    assert remedy
    shell = str(clone.shell.folders[0] / "sh")
    subprocess.run([shell, "-c", remedy[1]], env=clone.surroundings(), check=False)
    clone.run("help").assert_ok()
    clone.run("init").assert_ok()
    assert b"\r" not in (clone.root / ".env").read_bytes()


@pytest.mark.parametrize("name", ["lib/check.awk", "db/start.sh", "proxy/Caddyfile"])
def test_one_file_of_the_kit_with_windows_line_ends_is_enough(dash_clone: Clone, name: str) -> None:
    to_windows(dash_clone.root / name)
    dash_clone.run("help").assert_refused("Windows line endings (CRLF)", "sed -i")


def test_what_shells_and_containers_run_is_looked_at(shell: Shell) -> None:
    """Every script of the kit that no tool reads as Python does, is in the list of run.sh."""
    done = subprocess.run(
        [shell.folders[0] / "sh", "-c", f"{KIT}; printf '%s\\n' $KIT"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    listed = set(done.stdout.split())
    scripts = subprocess.run(
        ["git", "ls-files", "--", "*.sh", "*.awk", "proxy", ":!tests", ":!bench", ":!web", ":!.ci"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert scripts
    assert set(scripts) - listed == set()
