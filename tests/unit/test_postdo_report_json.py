"""A plan as JSON: what is written and what is documented are the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plans
import pytest
from plans import ALL, EVERYTHING

from postdo.report import as_json

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "plan-json.md"
each_plan = pytest.mark.parametrize("name", list(ALL))
ROW = re.compile(r"^\| `([^`]+)` \| ([\w ]+) \| (.+) \|$", re.MULTILINE)


def documented() -> dict[str, str]:
    """Each key of docs/plan-json.md with its type."""
    return {key: kind for key, kind, _ in ROW.findall(DOCUMENT.read_text())}


def paths(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every key below a value, as the document writes it, with what it holds."""
    if isinstance(value, dict):
        for key, inner in value.items():
            here = f"{path}.{key}" if path else key
            yield here, inner
            yield from paths(inner, here)
    elif isinstance(value, list):
        for inner in value:
            yield from paths(inner, f"{path}[]")


def fits(value: object, kind: str) -> bool:
    """Whether a value is of a type as the document names it."""
    if kind.endswith(" or null"):
        return value is None or fits(value, kind.removesuffix(" or null"))
    if kind == "list of string":
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if kind == "integer":
        return type(value) is int
    names = {"string": str, "boolean": bool, "number": float, "list": list, "object": dict}
    return isinstance(value, names[kind])


def test_every_key_is_documented_and_every_documented_key_is_written() -> None:
    written = {path for path, _ in paths(as_json.render(EVERYTHING))}

    assert len(written) > 80
    assert set(documented()) == written


@each_plan
def test_every_value_is_of_the_documented_type(name: str) -> None:
    types = documented()
    values = list(paths(as_json.render(ALL[name])))

    assert {path for path, value in values if not fits(value, types[path])} == set()
    assert {path for path, _ in values} <= set(types)


@each_plan
def test_the_json_has_the_same_keys_at_the_top_whatever_was_found(name: str) -> None:
    assert set(as_json.render(ALL[name])) == set(as_json.render(EVERYTHING))


def test_the_document_says_which_format_it_describes() -> None:
    assert f"the form that this page describes: {as_json.FORMAT}" in DOCUMENT.read_text()
    assert as_json.render(EVERYTHING)["format"] == as_json.FORMAT


@each_plan
def test_what_is_written_is_json_and_reads_back_the_same(name: str) -> None:
    values = as_json.render(ALL[name])

    assert json.loads(json.dumps(values, allow_nan=False)) == values


def test_keys_are_snake_case() -> None:
    keys = {key for path, _ in paths(as_json.render(EVERYTHING)) for key in path.split(".")}

    assert {key for key in keys if not re.fullmatch(r"[a-z][a-z_]*(\[\])?", key)} == set()


def test_machines_get_tables_with_their_schema_and_which_drift_counts() -> None:
    values: dict[str, Any] = as_json.render(EVERYTHING)

    assert values["rehearsal"]["trace"]["locks"][0]["table"] == plans.ITEM
    assert [one["touched"] for one in values["drift"]] == [True, False, False]
