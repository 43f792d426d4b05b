"""How a run fails: what is wrong, what to do next, where the log is; also on a full disk."""

from __future__ import annotations

import contextlib
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import small_file_system

from .conftest import fresh_clone
from .machine import Clone, ProjectFiles, Shell, Toolbox

FAILING = """main() {
    prepare_environment
    make_state_folder "$STATE"
    open_log trial
    step "Go well" echo all is well
    step "Go wrong" sh -c 'i=0; while [ $i -lt 30 ]; do i=$((i + 1)); echo "line $i"; done; exit 7'
    say "never reached"
}"""
FULL_DISK = "8m"

WAYS_TO_FAIL = re.compile(r'(?:^|[|;{] *|^ +)fail(?:_site)? ("(?:\\.|[^"])*".*)$', re.MULTILINE)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes; `fill` it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_file_system(disk, f"size={FULL_DISK}"):
        yield disk


def fill(disk: Path) -> None:
    """Write to a disk until nothing goes on it any more."""
    with (disk / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    assert shutil.disk_usage(disk).free == 0


@pytest.mark.every_shell
def test_a_failing_step_shows_its_last_lines_the_remedy_and_the_log(clone: Clone) -> None:
    clone.add_command("trial", FAILING)
    result = clone.run("trial")
    result.assert_refused("Go wrong failed", "fix what the lines above say")
    assert "Go well ... done (" in result.out
    assert "Go wrong ... failed\n" in result.out
    assert "never reached" not in result.text
    assert "  | line 30\n" in result.err
    assert "  | line 11\n" in result.err
    assert "  | line 10\n" not in result.err
    (log,) = (clone.state / "log").iterdir()
    assert f"  log:  {log}\n" in result.err
    text = log.read_text()
    assert "== Go well\nall is well\n" in text
    assert "== Go wrong\nline 1\n" in text


def test_the_log_is_the_owners_alone(clone: Clone) -> None:
    clone.add_command("trial", FAILING)
    clone.run("trial")
    for folder in (clone.state, clone.state / "log"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_month_of_logs_is_kept(clone: Clone) -> None:
    folder = clone.state / "log"
    folder.mkdir(parents=True)
    for age in (1, 29, 32, 400):
        path = folder / f"{age}-days-old.log"
        path.touch()
        subprocess.run(["touch", "-d", f"{age} days ago", path], check=True)
    clone.add_command("trial", FAILING)
    clone.run("trial")
    assert {path.name for path in folder.glob("*-old.log")} == {
        "1-days-old.log",
        "29-days-old.log",
    }


def test_every_way_to_fail_in_the_sources_says_what_and_what_next(dash_clone: Clone) -> None:
    calls = 0
    for path in [*dash_clone.root.glob("lib/*.sh"), *dash_clone.root.glob("commands/*.sh")]:
        text = path.read_text().replace("\\\n", " ")
        for call in WAYS_TO_FAIL.findall(text):
            calls += 1
            assert re.match(r'"(?:\\.|\$\([^)]*\)|[^"])+" +["$]', call), f"{path.name}: {call}"
    assert calls > 30
    bare = re.compile(r"^\s*exit [1-9]", re.MULTILINE)
    for path in dash_clone.root.glob("commands/*.sh"):
        assert not bare.search(path.read_text()), f"{path.name} ends without a word"


@pytest.mark.every_shell
def test_a_full_disk_at_the_first_start_leaves_no_half_env(
    shell: Shell, toolbox: Toolbox, project_files: ProjectFiles, full_disk: Path
) -> None:
    clone = fresh_clone(full_disk / "clone", shell, toolbox, project_files)
    fill(full_disk)
    result = clone.run("init")
    result.assert_refused(f"cannot write to {clone.root}/.env (disk full", "free some disk space")
    assert list(clone.root.glob(".env*")) == [clone.root / ".env.example"]
    (full_disk / "ballast").unlink()
    assert len(clone.first_start()["SECRET_KEY"]) == 64


@pytest.mark.every_shell
def test_a_disk_that_fills_up_later_is_said_and_leaves_no_lock(
    shell: Shell, toolbox: Toolbox, project_files: ProjectFiles, full_disk: Path
) -> None:
    clone = fresh_clone(full_disk / "clone", shell, toolbox, project_files)
    clone.first_start()
    clone.state.mkdir()
    fill(full_disk)
    result = clone.run("-2")
    result.assert_refused(f"cannot write to {clone.state} (disk full", "free some disk space")
    assert list(clone.state.iterdir()) == []
    clone.run("status").assert_ok()


def test_a_state_folder_in_which_one_may_not_write_is_said(nobodys_clone: Clone) -> None:
    clone = nobodys_clone
    clone.first_start()
    clone.state.mkdir(mode=0o555)
    clone.run("-2").assert_refused(f"cannot write to {clone.state}", "writable")
    clone.state.chmod(0o755)
    (clone.state / "log").mkdir(mode=0o555)
    if clone.user is not None:
        subprocess.run(["chown", "-R", str(clone.user), clone.state], check=True)
    result = clone.run("-2").assert_refused(f"cannot write to {clone.state}/log", "writable")
    assert "  log: " not in result.err
    assert [path.name for path in clone.state.iterdir()] == ["log"]


def test_a_file_where_the_state_folder_belongs_is_said(clone: Clone) -> None:
    clone.first_start()
    clone.state.touch()
    clone.run("-2").assert_refused(f"cannot write to {clone.state}", "writable")
