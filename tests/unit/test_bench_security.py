"""docs/security.md says what bench/promises.py has, and each test and fault of that is there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from documents import text_of

from bench import security
from bench.process import BenchError
from bench.promises import PROMISES, Fault, Promise


def names_in(path: str) -> set[str]:
    """The tests of a file: NAME, or CLASS::NAME."""
    found = set()
    for node in ast.parse(text_of(path)).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{one.name}" for one in node.body if hasattr(one, "name")}
    return found


@pytest.mark.parametrize("one", PROMISES, ids=lambda one: one.text)
def test_what_shows_a_promise_is_there_and_so_is_what_its_fault_changes(one: Promise) -> None:
    path, _, name = one.test.partition("::")
    assert name.partition("[")[0] in names_in(path)
    assert one.engine == path.startswith("tests/stack/")
    if one.fault:
        text = text_of(one.fault.file)
        assert security.with_fault(one.fault, text) != text


def test_a_fault_that_is_no_longer_there_is_named() -> None:
    with pytest.raises(BenchError, match="compose has this 2 times: a"):
        security.with_fault(Fault("compose", "a", "b"), "aa")


def test_the_page_has_the_tables_of_now_and_keeps_the_days() -> None:
    text = security.PAGE.read_text(encoding="utf-8")
    days = security.noted(text)

    assert security.page(text, days) == text
    assert days.keys() <= {one.text for one in PROMISES}
    assert security.noted(security.page(text, {PROMISES[0].text: "2026-01-31"})) == {
        PROMISES[0].text: "2026-01-31"
    }


@pytest.mark.parametrize(
    ("endings", "noticed"),
    [
        (["3 passed in 1 s", "1 failed, 2 passed in 1 s"], True),
        (["3 passed in 1 s", "3 passed in 1 s"], False),
        (["1 failed in 1 s"], "without a fault this fails"),
        (["", "1 failed in 1 s"], "without a fault this fails"),
        (["3 passed in 1 s", "1 error in 1 s"], "with its fault this does not run"),
        (["3 passed in 1 s", ""], "with its fault this does not run"),
    ],
)
def test_a_fault_is_noticed_by_a_test_that_passes_without_it_and_fails_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, endings: list[str], noticed: bool | str
) -> None:
    left = iter(endings)
    monkeypatch.setattr(security, "run_test", lambda *_: next(left))
    (tmp_path / "file").write_text("a good line\n")
    one = Promise("is good", "tests/test_it.py", None)

    def look() -> bool:
        return security.is_noticed(tmp_path, one, Fault("file", "good", "bad"), 1, "")

    if isinstance(noticed, str):
        with pytest.raises(BenchError, match=noticed):
            look()
    else:
        assert look() is noticed
    assert (tmp_path / "file").read_text() == "a good line\n"


def test_it_reads_how_pytest_ended(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it():\n    assert 1 == 2\n")

    assert security.run_test(tmp_path, "test_it.py", "").startswith("1 failed in ")

    (tmp_path / "test_it.py").write_text("import nothing_of_this_name\n")
    assert "error" in security.run_test(tmp_path, "test_it.py", "")
