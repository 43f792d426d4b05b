"""docs/security.md says what bench/promises.py has, and each test and fault of that is there."""

from __future__ import annotations

import ast

import pytest
from documents import PROJECT, text_of

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


def test_a_test_that_fails_without_a_fault_shows_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = PROMISES[0]
    assert one.fault
    monkeypatch.setattr(security, "passes", lambda *_: False)
    with pytest.raises(BenchError, match="without a fault this fails"):
        security.is_noticed(PROJECT, one, one.fault, 1, "")
