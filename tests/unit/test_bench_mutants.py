"""`python3 -m bench mutants` finds the fault that no test notices, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bench import mutants
from bench.faults import faults
from bench.process import BenchError

SOURCE = """\
MOST = 3


def decide(count: int, asked: bool = False) -> str:
    if count > MOST and not asked:
        raise ValueError(f"{count - 1} too many")
    return "go"
"""
IN_PYTHON = {
    "if count >= MOST and not asked:",
    "if count <= MOST and not asked:",
    "if count > MOST or not asked:",
    "if count > MOST and asked:",
    "if not (count > MOST and not asked):",
    "pass",
    "return None",
}
SCRIPT = """\
# first || second
main() {
    [ -n "$1" ] || return 1
    if [ ! -e "$1" ]; then fail "gone" "look" 3; fi
    first &&
        second
}
"""
IN_SHELL = {
    '[ ! -n "$1" ] || return 1',
    '[ -n "$1" ] && return 1',
    '[ -n "$1" ] || return 0',
    'if [ -e "$1" ]; then fail "gone" "look" 3; fi',
    "first ||",
    ":",
}
AWK = """\
BEGIN {
    FEW = 5
}
function is_much(count,    half) { # > 4
    half = int(count / 2)
    if (known(count)) return 1
    if (name !~ /a && b/ && half >= FEW) print "1 > 0"
}
"""
IN_AWK = {
    "half = int(count / 3)",
    ";",
    "if (!(known(count))) return 1",
    "if (known(count)) return 2",
    "if (known(count)) ;",
    'if (name ~ /a && b/ && half >= FEW) print "1 > 0"',
    'if (name !~ /a && b/ || half >= FEW) print "1 > 0"',
    'if (name !~ /a && b/ && half > FEW) print "1 > 0"',
}
# What the tests below try: each fault is a run of pytest, so these are few.
SMALL = "def is_much(count: int) -> bool:\n    return count > MOST\n\n\nMOST = 3\n"
TEST = """\
from decide import is_much

def test_it():
    assert is_much(9)
    assert is_much(2) is False
"""
UNNOTICED = "decide.py: return count > MOST -> return count >= MOST"


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [("decide.py", SOURCE, IN_PYTHON), ("main.sh", SCRIPT, IN_SHELL), ("much.awk", AWK, IN_AWK)],
)
def test_a_fault_is_one_small_change_of_what_a_function_does(
    path: str, source: str, expected: set[str]
) -> None:
    found = faults(path, source)
    assert {fault.new for fault in found} == expected
    for fault in found:
        assert fault.text.splitlines()[: fault.line - 1] == source.splitlines()[: fault.line - 1]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with one source that decides, and a test that does not try its boundary."""
    root = tmp_path / "clone"
    (root / "bench").mkdir(parents=True)
    (root / "decide.py").write_text(SMALL)
    (root / "test_decide.py").write_text(TEST)
    (root / mutants.EXPLAINED).write_text("# why\n")
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(mutants, "ROOT", root)
    monkeypatch.setattr(mutants, "PYTHON", Path(sys.executable))
    target = mutants.Target(("decide.py",), ("test_decide.py",))
    monkeypatch.setattr(mutants, "TARGETS", {"small": target})
    return root


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_one_fault_that_no_test_notices_is_named_until_it_is_explained(
    clone: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = contents(clone)

    assert mutants.main([]) == 1
    printed = capfd.readouterr().out
    assert printed.count("NOT NOTICED: decide.py:2\n") == printed.count("NOT NOTICED") == 1
    assert "    return count >= MOST\n" in printed
    assert printed.split()[-6:] == ["3", "2", "66", "%", "0", "1"]
    assert contents(clone) == before
    assert not list((clone.parent / "tmp").iterdir())

    (clone / mutants.EXPLAINED).write_text(f"# why\n{UNNOTICED}\n    three are as good as four\n")
    assert mutants.main([]) == 0
    assert capfd.readouterr().out.split()[-6:] == ["3", "2", "66", "%", "1", "0"]


def test_tests_that_fail_without_a_fault_prove_nothing(
    clone: Path,
) -> None:
    (clone / "test_decide.py").write_text("def test_it():\n    assert False\n")
    with pytest.raises(BenchError, match=r"fail in a copy of the clone: test_decide\.py"):
        mutants.main([])


def test_each_explained_fault_can_still_be_put_in() -> None:
    told = mutants.explained()
    paths = {name.partition(": ")[0] for name in told}
    sources = [source for target in mutants.TARGETS.values() for source in target.sources]
    assert all(path.startswith(tuple(sources)) for path in paths)
    assert told.keys() <= {
        fault.name for path in paths for fault in faults(path, (mutants.ROOT / path).read_text())
    }
    assert all(told.values())


def test_every_source_and_test_of_a_target_is_there() -> None:
    for target in mutants.TARGETS.values():
        for path in (*target.sources, *target.quick, *target.slow):
            assert (mutants.ROOT / path).exists(), path
