"""The fixtures that all tests share: they clean up, and in CI nothing is skipped silently."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from embedded_support import ROOT
from waiting import until

WAITS_FOR_EVER = """
import time, pathlib
def test_waits(postgres):
    pathlib.Path("home").write_text(str(postgres.layout.home))
    pathlib.Path("home").rename("started")
    time.sleep(600)
"""
SKIPS = """
import pytest
pytest.importorskip("no_such_module", reason="because")
"""
SKIPS_ONE = """
import pytest
@pytest.mark.skip(reason="because")
def test_one(): pass
@pytest.mark.xfail
def test_known_to_fail(): assert False
def test_two(): pass
"""


def run_pytest(folder: Path, content: str, **environment: str) -> subprocess.Popen[str]:
    """Run one test file with our conftest, in its own process group."""
    (folder / "test_it.py").write_text(content)
    words = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider"]
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [*words, "--rootdir", str(folder), str(folder / "test_it.py")],
        env={**{k: v for k, v in os.environ.items() if k != "CI"}, **paths, **environment},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_server(tmp_path: Path, signal_number: int) -> None:
    run = run_pytest(tmp_path, WAITS_FOR_EVER)
    until((tmp_path / "started").exists, "the fixture")
    home = Path((tmp_path / "started").read_text())
    assert (home / "server" / "data" / "postmaster.pid").exists()
    os.killpg(run.pid, signal_number)
    run.communicate(timeout=60)
    assert run.returncode == pytest.ExitCode.INTERRUPTED
    assert not home.parent.exists()


@pytest.mark.parametrize("content", [SKIPS, SKIPS_ONE])
def test_in_ci_a_skip_is_a_failure(tmp_path: Path, content: str) -> None:
    run = run_pytest(tmp_path, content, CI="true")
    output, _ = run.communicate(timeout=60)
    assert run.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    assert "CI=true, and nothing may be skipped there. Skipped: because" in output


def test_elsewhere_a_skip_is_a_skip(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, SKIPS_ONE)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == pytest.ExitCode.OK
    assert "1 passed, 1 skipped, 1 xfailed" in output


def test_the_summary_names_what_was_left_out_once_for_each_reason(tmp_path: Path) -> None:
    summary = tmp_path / "summary"
    again = f"{SKIPS_ONE}\n@pytest.mark.skip(reason='because')\ndef test_three(): pass\n"
    run = run_pytest(tmp_path, again, TEST_SUMMARY_FILE=str(summary))
    run.communicate(timeout=60)
    first, left_out, *costs = summary.read_text().splitlines()
    assert first == "1 passed, 0 failed, 2 skipped"
    assert left_out == "  left out 2: because (test_it.py)"
    assert costs[0] == "  seconds by folder: clock, CPU"
    assert re.fullmatch(r" +\d+\.\d +\d+\.\d  \.", costs[1])
    assert costs[2] == "  the 4 slowest tests: clock, CPU"
    assert all(re.fullmatch(r" +\d+\.\d +\d+\.\d  test_it.py::\w+", one) for one in costs[3:])


def test_the_cpu_time_of_what_a_test_has_started_counts_as_its_own(tmp_path: Path) -> None:
    work = "import time\nwhile time.process_time() < 0.3: pass\n"
    content = f"""
        import subprocess, sys
        def test_ended(): subprocess.run([sys.executable, "-c", {work!r}])
        def test_living():
            stays = {work!r} + "print(flush=True); input()"
            one = subprocess.Popen([sys.executable, "-c", stays], stdin=-1, stdout=-1)
            one.stdout.readline()
            """
    summary = tmp_path / "summary"
    run = run_pytest(tmp_path, textwrap.dedent(content), TEST_SUMMARY_FILE=str(summary))
    run.communicate(timeout=60)
    used = re.findall(r" (\S+)  test_it.py::(\w+)", summary.read_text())
    assert {test for cpu, test in used if float(cpu) >= 0.3} == {"test_ended", "test_living"}
