"""The rows of the stack tests: together they run everything once, and the shared clone is one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from stack.rows import FIRST, SHARED

TESTS = Path(__file__).parents[1]
# Each notes its row. The first of a row waits until the other row has begun too.
NOTING = """
import os, pathlib, time, pytest
{mark}

def test_one():
    ran = pathlib.Path("ran") / "{name}"
    ran.write_text(str(os.getpid()))
    end = time.monotonic() + 60
    while len({{one.read_text() for one in ran.parent.iterdir()}}) < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
"""
MARK = "pytestmark = pytest.mark.shared_clone"


def test_two_rows_run_each_file_once_and_those_of_the_shared_clone_in_one_row(
    tmp_path: Path,
) -> None:
    marks = {"test_a": "", "test_b": MARK, "test_c": "", "test_d": MARK, "test_e": ""}
    for name, mark in marks.items():
        (tmp_path / f"{name}.py").write_text(NOTING.format(mark=mark, name=name))
    for name in ("ran", "queue"):
        (tmp_path / name).mkdir()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "stack.rows", "-c", os.devnull, "."]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "TEST_QUEUE": str(tmp_path / "queue")}

    rows = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [row.communicate(timeout=60)[0] for row in rows]

    assert [row.returncode for row in rows] == [0, 0], said
    ran = {one.name: one.read_text() for one in (tmp_path / "ran").iterdir()}
    assert ran.keys() == marks.keys()
    assert len(set(ran.values())) == len(rows)
    assert ran["test_b"] == ran["test_d"]
    passed = [int(text.rpartition(" passed")[0].split()[-1]) for text in said]
    assert sum(passed) == len(marks), said


def test_what_comes_first_is_there() -> None:
    assert [
        name for name in FIRST if name != SHARED and not (TESTS / "stack" / name).is_file()
    ] == []


def test_a_folder_that_another_row_goes_on_with_ends_in_this_row(tmp_path: Path) -> None:
    """By the next test that it runs itself, pytest decides which fixtures end."""
    for name in ("one/test_a", "one/test_b", "two/test_c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text("def test_one(): pass\n")
    (tmp_path / "queue" / "test_b.py").mkdir(parents=True)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "stack.rows", "-c", os.devnull, "."],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TESTS), "TEST_QUEUE": str(tmp_path / "queue")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "2 passed" in done.stdout, done.stdout
    assert done.returncode == 0
